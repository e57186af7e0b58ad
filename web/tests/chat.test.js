import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chat } from '../chat.js';

globalThis.sessionStorage = { getItem: () => null, setItem: () => {} };
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Alice's chat over a link whose other end is the test: `acks` answer what she sends, in order. */
function chatOf() {
  const acks = [];
  const link = {
    isOpen: true,
    request: () => new Promise((resolve) => acks.push(resolve)),
    call: () => new Promise(() => {}),
    tell: () => {},
  };
  let minted = 0;
  const on = { changed: () => {}, news: () => {}, trouble: assert.fail };
  const mint = () => `minted-${(minted += 1)}`;
  return { chat: new Chat({ me: 'alice', tenant: 'default', link, clock: { nowMs: () => 1 }, mint, on }), acks };
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
