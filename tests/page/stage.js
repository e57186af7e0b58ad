import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Complaints } from './complaints.js';
import { Person } from './person.js';
import { picture, sideBySide } from './pictures.js';
import { WITHIN_MS } from './until.js';

const SCENE_MS = 60_000;
const VIEWPORT = { width: 900, height: 600 };
const PHONE = { viewport: { width: 375, height: 667 }, hasTouch: true, isMobile: true };

/**
 * Where scenes play: `scene(name, play, settings)` is a test with a deployment of its own, made by `deploy`, with settings of its own. `play` gets
 * `server`;
 * `come(user, {phone, token, ...context})`, a person at a tab of his own, signed in by his link unless a token is given, '' for none;
 * `whileAway(act)`, during which the server may be unreachable;
 * `shoot(name, ...people)`, which takes a screenshot of each, side by side; and `axe`.
 *
 * A scene fails, too, if a page complains, or if the server's data do not keep the promises at the end.
 */
export function stage({ browser, deploy, axe, screenshots }) {
  mkdirSync(screenshots, { recursive: true });
  return (name, play, settings = []) =>
    test(name, { timeout: SCENE_MS }, async () => {
      const server = deploy(settings);
      const complaints = new Complaints();
      const people = [];
      const save = (file, png) => writeFileSync(join(screenshots, `${file}.png`), png);

      async function shoot(file, ...ofWhom) {
        const pictures = [];
        for (const { page } of ofWhom) pictures.push(await picture(page));
        save(file, pictures.length > 1 ? await sideBySide(browser, pictures) : pictures[0]);
      }

      async function come(user, { phone = false, token = null, ...options } = {}) {
        const settings = { viewport: VIEWPORT, locale: 'en-GB', timezoneId: 'UTC', ...(phone && PHONE), ...options };
        const context = await browser.newContext(settings);
        context.setDefaultTimeout(WITHIN_MS);
        const page = await context.newPage();
        const person = new Person(user, page);
        people.push(person);
        await complaints.listen(page, `${user} (${people.length})`);
        await page.goto(token === null ? await server.link(user) : `${server.page}${token && `#token=${token}`}`);
        if (token === null) await page.getByRole('heading', { name: user, exact: true }).waitFor();
        return person;
      }

      async function whileAway(act) {
        complaints.isServerAway = true;
        await act();
        complaints.isServerAway = false;
      }

      try {
        await server.start();
        await play({ server, come, whileAway, shoot, axe });
        assert.deepEqual(complaints.all, []);
        for (const { page } of people) await page.context().close();
        await server.finish();
      } catch (error) {
        const file = `failed ${name}`.replace(/\W+/g, '-');
        for (const [at, person] of people.entries()) await shoot(`${file}-${at + 1}`, person).catch(() => {});
        console.error(`--- ${name}\ncomplaints: ${JSON.stringify(complaints.all, null, 2)}\nthe server's log:\n${server.log()}`);
        throw error;
      } finally {
        for (const { page } of people) await page.context().close();
        server.remove();
      }
    });
}
