import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServerClock } from '../clock.js';
import { ulidSource } from '../ulid.js';

const filled = (byte) => (bytes) => bytes.fill(byte);

test('a ulid begins with its minting time', () => {
  assert.equal(ulidSource(() => 1_469_918_176_385, filled(0))(), `01ARYZ6S41${'0'.repeat(16)}`);
});

test('ids of one millisecond rise, also over a full random part', () => {
  for (const byte of [0, 31]) {
    const mint = ulidSource(() => 1_700_000_000_000, filled(byte));
    const ids = Array.from({ length: 40 }, mint);
    assert.deepEqual(ids, [...new Set(ids)].sort());
  }
});

test('a clock that is a little late does not break the order, one that was set back is believed', () => {
  let now = 1_700_000_000_000;
  const mint = ulidSource(() => now, filled(1));
  const first = mint();
  now -= 500;
  assert.ok(mint() > first);
  now -= 3_600_000;
  assert.ok(mint() < first);
});

test('the clock follows the server, not the computer', () => {
  let monotonic = 100;
  const clock = new ServerClock(() => monotonic, 5_000);
  assert.equal(clock.nowMs(), 5_000);
  clock.learn(9_000);
  monotonic += 250;
  assert.equal(clock.nowMs(), 9_250);
});
