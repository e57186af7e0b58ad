/** What a tab shows, as a PNG. */
export async function picture(page) {
  // Nothing looks as if it were pointed at.
  await page.mouse.move(0, 0);
  return page.screenshot({ animations: 'disabled', caret: 'hide' });
}

/** Pictures beside each other in one. */
export async function sideBySide(browser, pictures) {
  const page = await browser.newPage({ deviceScaleFactor: SCALE, colorScheme: 'light' });
  const images = pictures.map((png) => `<img src="data:image/png;base64,${png.toString('base64')}">`);
  await page.setContent(`<style>${STYLE}</style><main>${images.join('')}</main>`);
  const png = await page.locator('main').screenshot();
  await page.close();
  return png;
}

/** Of the pictures, and so of what they are put together to. */
export const SCALE = 1.5;

const STYLE = `
  main { display: inline-flex; gap: 20px; padding: 20px; background: #d9cfc6; white-space: nowrap; }
  img { zoom: calc(1 / ${SCALE}); border-radius: 15px; box-shadow: 0 3px 18px #0005; }
`;
