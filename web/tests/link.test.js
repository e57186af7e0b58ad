import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { ServerClock } from '../clock.js';
import { Link } from '../link.js';
import { DISCONNECTED } from '../refusal.js';

/** A socket whose other end is the test. */
class FakeSocket {
  sent = [];

  constructor() {
    FakeSocket.last = this;
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.isClosed = true;
  }

  put(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }
}

globalThis.WebSocket = FakeSocket;
const turn = () => new Promise((resolve) => setImmediate(resolve));

async function linkOf(t) {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  t.after(() => mock.timers.reset());
  const heard = [];
  const link = new Link({
    findUrl: async () => 'ws://localhost/ws',
    credentials: { token: 'token', deviceId: 'web-1' },
    clock: new ServerClock(),
    on: { state: () => {}, connected: () => heard.push('connected'), frame: (kind) => heard.push(kind) },
  });
  link.start();
  await turn();
  return { link, heard };
}

async function connect() {
  const socket = FakeSocket.last;
  socket.onopen();
  const { id } = socket.sent[0].connect;
  socket.put({ connected: { id, userId: 'alice', serverTimeMs: '1', heartbeatMs: 30_000 } });
  await turn();
  return socket;
}

test('connects with the token and the device, then hands frames over', async (t) => {
  const { link, heard } = await linkOf(t);
  const socket = await connect();
  assert.deepEqual([socket.sent[0].connect.token, socket.sent[0].connect.deviceId], ['token', 'web-1']);
  assert.equal(link.isOpen, true);
  socket.put({ deliver: { events: [] } });
  assert.deepEqual(heard, ['connected', 'deliver']);
});

test('a call names its request type and gets its response', async (t) => {
  const { link } = await linkOf(t);
  const socket = await connect();
  const answer = link.call('session.v1.SessionService/MarkRead', { seq: '7' });
  await turn();
  const { id, ...call } = socket.sent[1].call;
  assert.deepEqual(call, {
    method: 'flare.session.v1.SessionService/MarkRead',
    request: { '@type': 'type.googleapis.com/flare.session.v1.MarkReadRequest', seq: '7' },
  });
  socket.put({ reply: { id, response: { readSeq: '7' } } });
  assert.deepEqual(await answer, { readSeq: '7' });
});

test('a refusal bears its code and whether to try again', async (t) => {
  const { link } = await linkOf(t);
  const socket = await connect();
  const answer = link.request('send', {});
  socket.put({ error: { id: socket.sent[1].send.id, error: { code: 'RATE_LIMITED', message: 'slower', retryAfterMs: '70' } } });
  await assert.rejects(answer, { code: 'RATE_LIMITED', message: 'slower', retryAfterMs: 70, isRetryable: true });
});

test('a lost connection leaves requests unknown and comes back by itself', async (t) => {
  const { link, heard } = await linkOf(t);
  const socket = await connect();
  const answer = link.request('send', {});
  socket.onclose({ code: 1006 });
  await assert.rejects(answer, { code: DISCONNECTED });
  mock.timers.tick(1_000);
  await turn();
  assert.notEqual(FakeSocket.last, socket);
  await connect();
  assert.deepEqual(heard, ['connected', 'connected']);
});

test('a server that does not answer is left', async (t) => {
  const { link } = await linkOf(t);
  const socket = await connect();
  const answer = link.request('ping', {});
  mock.timers.tick(20_000);
  await assert.rejects(answer, { code: DISCONNECTED });
  assert.equal(socket.isClosed, true);
});

test('a silent client says that it is there', async (t) => {
  await linkOf(t);
  const socket = await connect();
  mock.timers.tick(24_000);
  assert.ok('ping' in socket.sent[1]);
});

test('a dead token and a replaced device do not come back by themselves', async (t) => {
  const { link } = await linkOf(t);
  const socket = FakeSocket.last;
  socket.onopen();
  socket.put({ error: { id: socket.sent[0].connect.id, error: { code: 'TOKEN_EXPIRED', message: 'ended at noon' } } });
  await turn();
  assert.deepEqual(link.state, { phase: 'stopped', reason: 'UNAUTHENTICATED', message: 'ended at noon' });

  link.start();
  await turn();
  (await connect()).put({ kicked: { reason: 'REPLACED', message: 'elsewhere' } });
  assert.equal(link.state.reason, 'REPLACED');
  mock.timers.tick(60_000);
  assert.equal(link.state.phase, 'stopped');
});

test('a close code stands for a reason that was not read', async (t) => {
  const { link } = await linkOf(t);
  (await connect()).onclose({ code: 4006 });
  assert.equal(link.state.reason, 'KICKED');
});

test('a draining server is left once it has answered, for as long as it says', async (t) => {
  const { link } = await linkOf(t);
  const socket = await connect();
  link.request('send', {}).catch(() => {});
  socket.put({ goaway: { reconnectAfterMs: 5_000 } });
  mock.timers.tick(100);
  assert.equal(link.isOpen, true);
  socket.onclose({ code: 4009 });
  mock.timers.tick(4_900);
  assert.equal(link.state.phase, 'waiting');
  mock.timers.tick(200);
  assert.equal(link.state.phase, 'connecting');
});
