import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Outbox, sessionStore } from '../outbox.js';
import { Refusal } from '../refusal.js';

const forgetful = () => ({ load: () => [], save() {} });
const item = (clientId, lane = 'team') => ({ clientId, lane, to: { conversationId: lane }, content: { text: { text: clientId } } });
const ids = (items) => items.map(({ clientId }) => clientId);
const later = (retryAfterMs = 0) => new Refusal({ code: 'RATE_LIMITED', message: 'too fast', retryAfterMs: String(retryAfterMs) });
const inOrder = new Refusal({ code: 'RETRY_IN_ORDER' });

function outboxOf(...items) {
  const outbox = new Outbox(forgetful());
  for (const it of items) outbox.add(it);
  return outbox;
}

test('items go in the order in which they were said, no more than the window', () => {
  const outbox = outboxOf(item('a'), item('b'), item('c'));
  assert.deepEqual(ids(outbox.due(0, 2)), ['a', 'b']);
  assert.deepEqual(ids(outbox.due(0, 2)), []);
  outbox.arrived('a');
  assert.deepEqual(ids(outbox.due(0, 2)), ['c']);
});

test('after a refusal for now the lane waits for its answers and the delay, then goes on in order', () => {
  const outbox = outboxOf(item('a'), item('b'), item('c'));
  outbox.due(0, 2);
  assert.equal(outbox.refused('a', later(2_000), 0), true);
  assert.deepEqual(ids(outbox.due(5_000, 9)), [], 'b is still in flight');
  outbox.refused('b', inOrder, 0);
  assert.deepEqual(ids(outbox.due(1_999, 9)), []);
  assert.equal(outbox.nextDueMs(), 2_000);
  assert.deepEqual(ids(outbox.due(2_000, 9)), ['a', 'b', 'c']);
});

test('a lane that stands still does not hold another', () => {
  const outbox = outboxOf(item('a'), item('x', 'other'));
  outbox.due(0, 1);
  outbox.refused('a', later(), 0);
  assert.deepEqual(ids(outbox.due(0, 9)), ['x']);
});

test('repeated refusals wait longer', () => {
  const outbox = outboxOf(item('a'));
  const waits = [1, 2, 3].map(() => {
    outbox.due(outbox.nextDueMs() < Infinity ? outbox.nextDueMs() : 0, 1);
    outbox.refused('a', later(), 0);
    return outbox.nextDueMs();
  });
  assert.deepEqual(waits, [500, 1_000, 2_000]);
});

test('a final refusal fails the item alone and keeps the reason', () => {
  const outbox = outboxOf(item('a'), item('b'));
  outbox.due(0, 1);
  assert.equal(outbox.refused('a', new Refusal({ code: 'NOT_A_MEMBER', message: 'alice is not in team' }), 0), false);
  assert.deepEqual([outbox.items[0].state, outbox.items[0].reason], ['failed', 'alice is not in team']);
  assert.deepEqual(ids(outbox.due(0, 9)), ['b']);
});

test('a retry goes behind what was said since, under the same client id', () => {
  const outbox = outboxOf(item('a'));
  outbox.due(0, 1);
  outbox.refused('a', new Refusal({ code: 'STOPPED_BY_HOOK' }), 0);
  outbox.add(item('b'));
  outbox.retry('a', 'fresh');
  assert.deepEqual(ids(outbox.due(0, 9)), ['b', 'a']);
});

test('a retry takes a fresh client id where the old one is what was wrong', () => {
  const outbox = outboxOf(item('a'));
  outbox.due(0, 1);
  outbox.refused('a', new Refusal({ code: 'CLIENT_ID_IN_FUTURE' }), 0);
  outbox.retry('a', 'fresh');
  assert.deepEqual(ids(outbox.due(0, 9)), ['fresh']);
});

test('after a lost connection everything unacked goes again, in order, at once', () => {
  const outbox = outboxOf(item('a'), item('b'), item('c'));
  outbox.due(0, 9);
  outbox.placed('b', 7);
  outbox.refused('a', later(60_000), 0);
  outbox.disconnected();
  assert.deepEqual(ids(outbox.due(0, 9)), ['a', 'c']);
});

test('an acked item stays until the events before it are there, and is not sent again', () => {
  const outbox = outboxOf(item('a'), item('b'), item('c'));
  outbox.due(0, 9);
  outbox.placed('a', 5);
  outbox.placed('b', 7);
  outbox.disconnected();
  assert.deepEqual(ids(outbox.due(0, 9)), ['c']);
  outbox.discard('b');
  outbox.reached('other', 9);
  assert.deepEqual(ids(outbox.items), ['a', 'b', 'c']);
  outbox.reached('team', 6);
  assert.deepEqual(ids(outbox.items), ['b', 'c']);
  outbox.reached('team', 7);
  assert.deepEqual(ids(outbox.items), ['c']);
});

test('giving up a refused item is told with the next of its lane, once', () => {
  const outbox = outboxOf(item('a'), item('b'));
  outbox.due(0, 1);
  outbox.refused('a', later(), 0);
  outbox.discard('a');
  assert.deepEqual(ids(outbox.due(500, 9)), ['b']);
  assert.equal(outbox.takeAbandoned('team'), 'a');
  assert.equal(outbox.takeAbandoned('team'), '');
});

test('what is in flight cannot be given up', () => {
  const outbox = outboxOf(item('a'));
  outbox.due(0, 1);
  outbox.discard('a');
  assert.deepEqual(ids(outbox.items), ['a']);
});

test('a draft keeps its order and its targets when its conversation gets an id', () => {
  const outbox = new Outbox(forgetful());
  for (const id of ['a', 'b']) outbox.add({ ...item(id, 'user:bob'), to: { userId: 'bob' } });
  outbox.due(0, 1);
  outbox.rename('user:bob', 'd_x');
  outbox.placed('a', 7);
  const [next] = outbox.due(0, 1);
  assert.deepEqual([next.lane, next.to], ['d_x', { userId: 'bob' }]);
});

test('the outbox outlives the page', () => {
  const kept = new Map();
  const storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
  const outbox = new Outbox(sessionStore('outbox', storage));
  outbox.add(item('a'));
  outbox.add(item('b'));
  outbox.due(0, 1);
  outbox.placed('a', 7);
  assert.deepEqual(ids(new Outbox(sessionStore('outbox', storage)).due(0, 9)), ['b']);
});

test('a full outbox takes nothing', () => {
  const outbox = new Outbox(forgetful());
  let taken = 0;
  while (outbox.add(item(`i${taken}`))) taken += 1;
  assert.equal(outbox.items.length, taken);
});
