import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Timeline, holes } from '../timeline.js';

const said = (seq) => ({ seq, kind: 'MESSAGE_CREATED', body: { content: { text: { text: `number ${seq}` } } } });
const recall = (seq, targetSeq) => ({ seq, kind: 'MESSAGE_RECALLED', targetSeq });
const joined = (seq) => ({ seq, kind: 'MEMBERS_ADDED' });
const seqs = (timeline) => timeline.rows.map((row) => row.event.seq);

test('holes are what history leaves out', () => {
  assert.deepEqual(holes([4, 5, 8], 2, 10), [
    { afterSeq: 1, limit: 2 },
    { afterSeq: 5, limit: 2 },
    { afterSeq: 8, limit: 1 },
  ]);
  assert.deepEqual(holes([1, 2, 3], 1, 4), []);
  assert.deepEqual(holes([], 1, 3), [{ afterSeq: 0, limit: 2 }]);
});

test('a page of history goes above what is there, notices among the messages', () => {
  const timeline = new Timeline(6);
  timeline.append(said(6));
  timeline.prepend(3, [{ event: said(3) }, { event: said(5) }], [joined(4)]);
  assert.deepEqual(seqs(timeline), [3, 4, 5, 6]);
});

test('a page that came twice is taken once', () => {
  const timeline = new Timeline(3);
  for (let time = 0; time < 2; time += 1) timeline.prepend(1, [{ event: said(1) }, { event: said(2) }], []);
  assert.deepEqual(seqs(timeline), [1, 2]);
});

test('a recall marks its message, whether that is loaded before or after', () => {
  const timeline = new Timeline(5);
  timeline.append(said(5));
  timeline.append(recall(6, 5));
  timeline.append(recall(7, 2));
  timeline.prepend(1, [{ event: said(1), isRecalled: true }, { event: said(2) }, { event: said(3) }], [recall(4, 3)]);
  assert.deepEqual(
    timeline.rows.map((row) => [row.event.seq, row.isRecalled]),
    [[1, true], [2, true], [3, true], [5, true]],
  );
});

test('a message without its content counts as recalled before the recall comes', () => {
  const timeline = new Timeline(1);
  timeline.append({ ...said(1), body: {} });
  timeline.append(said(2));
  assert.deepEqual(
    timeline.rows.map((row) => row.isRecalled),
    [true, false],
  );
});

test('unknown kinds take no row', () => {
  const timeline = new Timeline(1);
  timeline.append({ seq: 1, kind: 99 });
  assert.deepEqual(seqs(timeline), []);
});

test('what is far up is forgotten and can be loaded again', () => {
  const timeline = new Timeline(1);
  for (let seq = 1; seq <= 500; seq += 1) timeline.append(said(seq));
  timeline.trim();
  assert.deepEqual([timeline.rows.length, timeline.low, timeline.isComplete], [200, 301, false]);
  timeline.prepend(300, [{ event: said(300) }], []);
  assert.equal(timeline.rows[0].event.seq, 300);
});
