import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chat } from '../chat.js';

globalThis.sessionStorage = { getItem: () => null, setItem: () => {} };
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Alice's chat over a link whose other end is the test: `acks` answer what she sends, in order. */
function chatOf() {
  const acks = [];
  const told = [];
  const link = {
    isOpen: true,
    request: () => new Promise((resolve) => acks.push(resolve)),
    call: () => new Promise(() => {}),
    tell: (kind, body) => told.push([kind, body]),
  };
  let minted = 0;
  const on = { changed: () => {}, news: () => {}, trouble: assert.fail };
  const mint = () => `minted-${(minted += 1)}`;
  return { chat: new Chat({ me: 'alice', tenant: 'default', link, clock: { nowMs: () => 1 }, mint, on }), acks, told };
}

const delivered = (seq, senderId) => ({
  header: { conversationId: 'd_1', seq: String(seq), senderId, kind: 'MESSAGE_CREATED', flags: 1, class: 'DIRECT', participants: ['alice', 'bob'] },
  body: { messageCreated: { content: { text: { text: `number ${seq}` } } } },
});

/** What the thread shows: what has come, then what waits. */
function shown(chat) {
  const it = chat.conversations.get('d_1');
  const came = it.timeline.rows.map(({ event }) => event.body.content.text.text);
  return [...came, ...chat.outbox.of('d_1').map((item) => `${item.content.text.text} (${item.state})`)];
}

test('one’s own message is shown, once, while its ack has overtaken the message before it', async () => {
  const { chat, acks } = chatOf();
  chat.receive('deliver', { events: [delivered(1, 'bob')] });
  chat.say(chat.conversations.get('d_1'), 'mine');
  assert.deepEqual(shown(chat), ['number 1', 'mine (sent)']);
  acks[0]({ conversationId: 'd_1', seq: '3', timeMs: '1' });
  await turn();
  assert.deepEqual(shown(chat), ['number 1', 'mine (placed)']);
  chat.receive('deliver', { events: [delivered(2, 'bob')] });
  assert.deepEqual(shown(chat), ['number 1', 'number 2', 'mine']);
});

test('an ack of what came already leaves nothing waiting', async () => {
  const { chat, acks } = chatOf();
  chat.receive('deliver', { events: [delivered(1, 'bob')] });
  chat.say(chat.conversations.get('d_1'), 'mine');
  chat.receive('deliver', { events: [{ ...delivered(2, 'alice'), header: { ...delivered(2, 'alice').header, clientId: 'minted-1' } }] });
  acks[0]({ conversationId: 'd_1', seq: '2', timeMs: '1', duplicate: true });
  await turn();
  assert.deepEqual(shown(chat), ['number 1', 'number 2']);
});

test('a group that is looked at is said to be, again on each connection, until another is', () => {
  const { chat, told } = chatOf();
  const group = (id) => ({ conversation: { conversationId: id, class: 'LARGE', title: id }, state: 'ACTIVE', role: 'MEMBER', headSeq: '1' });
  const viewed = () => told.splice(0).filter(([, body]) => body.viewing).map(([, body]) => [body.conversationId, body.viewing.active]);
  for (const id of ['hall', 'fair']) chat.conversations.merge(group(id), null);
  chat.select({ id: 'hall' });
  assert.deepEqual(viewed(), [['hall', true]]);
  chat.resume({});
  assert.deepEqual(viewed(), [['hall', true]]);
  chat.select({ id: 'fair' });
  assert.deepEqual(viewed(), [['hall', false], ['fair', true]]);
});

test('a hint at a head asks for what is missing and for nothing else', () => {
  const { chat } = chatOf();
  chat.receive('deliver', { events: [delivered(1, 'bob')] });
  const needed = [];
  chat.repair.need = (id) => needed.push(id);
  chat.receive('syncHint', { conversationIds: ['d_1'], headSeqs: ['1'] });
  assert.deepEqual(needed, []);
  chat.receive('syncHint', { conversationIds: ['d_1'], headSeqs: ['2'] });
  chat.receive('syncHint', { conversationIds: ['d_1'] });
  assert.deepEqual(needed, ['d_1', 'd_1']);
});
