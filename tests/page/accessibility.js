import assert from 'node:assert/strict';

const WORTH_FAILING = new Set(['serious', 'critical']);

/** Holds a page against the rules of axe-core, contrast among them. */
export async function isAccessible({ page, name }, axe, what) {
  // Not by a script element, which the page's security policy forbids.
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const bad = violations
    .filter((violation) => WORTH_FAILING.has(violation.impact))
    .map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map((node) => `${node.html} ${node.failureSummary}`) }));
  assert.deepEqual(bad, [], `${what}, ${name}: ${JSON.stringify(bad, null, 2)}`);
}
