import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

const LOOK_EVERY_MS = 50;
export const WITHIN_MS = 15_000;

/** Looks until what is seen is truthy, and returns it; fails at a deadline. */
export async function until(what, look, withinMs = WITHIN_MS) {
  const seen = await lookUntil(look, Boolean, withinMs);
  assert.ok(seen, `${what}: not within ${withinMs} ms`);
  return seen;
}

/** Looks until what is seen equals what is expected; at a deadline it fails with the difference. */
export async function becomes(what, look, expected, withinMs = WITHIN_MS) {
  const seen = await lookUntil(look, (it) => isDeepStrictEqual(it, expected), withinMs);
  if (!isDeepStrictEqual(seen, expected)) {
    assert.deepStrictEqual(seen, expected, `${what}: not within ${withinMs} ms\n${difference(seen, expected)}`);
  }
}

async function lookUntil(look, isEnough, withinMs) {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const seen = await look();
    if (isEnough(seen) || performance.now() > deadline) return seen;
    await pause(LOOK_EVERY_MS);
  }
}

function difference(seen, expected) {
  return `seen      ${JSON.stringify(seen)}\nexpected  ${JSON.stringify(expected)}`;
}
