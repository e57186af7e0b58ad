import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Sequence } from '../sequence.js';

test('events in order are handed out as they come', () => {
  const sequence = new Sequence(4);
  assert.deepEqual(sequence.offer(5, 'e5'), ['e5']);
  assert.deepEqual(sequence.offer(6, 'e6'), ['e6']);
  assert.equal(sequence.hasGap, false);
});

test('what came before is not handed out again', () => {
  const sequence = new Sequence(4);
  sequence.offer(5, 'e5');
  assert.deepEqual(sequence.offer(5, 'e5'), []);
  assert.deepEqual(sequence.offer(3, 'e3'), []);
  assert.equal(sequence.cursor, 5);
});

test('a seq that is not the next is a gap until the missing ones come', () => {
  const sequence = new Sequence(0);
  assert.deepEqual(sequence.offer(3, 'e3'), []);
  assert.equal(sequence.hasGap, true);
  assert.deepEqual(sequence.offer(1, 'e1'), ['e1']);
  assert.equal(sequence.hasGap, true);
  assert.deepEqual(sequence.offer(2, 'e2'), ['e2', 'e3']);
  assert.equal(sequence.hasGap, false);
});

test('a floor above the cursor is skipped to, and what waits above it follows', () => {
  const sequence = new Sequence(0);
  sequence.offer(4, 'e4');
  sequence.offer(11, 'e11');
  assert.deepEqual(sequence.skipTo(10), ['e11']);
  assert.equal(sequence.cursor, 11);
  assert.equal(sequence.hasGap, false);
});

test('far behind, what waits is bounded and nothing is lost for it', () => {
  const sequence = new Sequence(0);
  for (let seq = 2; seq <= 2_000; seq += 1) assert.deepEqual(sequence.offer(seq, seq), []);
  const handed = [];
  for (let seq = 1; seq <= 2_000; seq += 1) handed.push(...sequence.offer(seq, seq));
  assert.deepEqual(handed, Array.from({ length: 2_000 }, (_, at) => at + 1));
});
