import { DISCONNECTED, Refusal } from './refusal.js';

const SUBPROTOCOL = 'flare.v1.json';
const SDK_VERSION = 'flare-web/1';
const CONNECT_MS = 10_000;
const ANSWER_MS = 20_000;
const FIRST_DELAY_MS = 300;
const MOST_DELAY_MS = 20_000;
/** A connection that lasted so long makes the next attempt quick again. */
const STABLE_MS = 10_000;
/** How long a draining server is given to answer what is on its way. */
const LEAVE_MS = 2_000;
/** Fewer than the server works on at once. */
const MAX_CALLS = 6;
/** Close codes of the contract are 4000 + reason. */
const CLOSE_REASONS = ['', 'PROTOCOL_ERROR', 'CONNECT_TIMEOUT', 'IDLE', 'UNAUTHENTICATED', 'REPLACED', 'KICKED'];
/** Coming back by itself would be wrong. */
const FINAL_REASONS = new Set(['UNAUTHENTICATED', 'REPLACED', 'KICKED']);
/** A Connect that is refused so is refused for ever. */
const FINAL_CODES = new Set([
  'UNAUTHENTICATED',
  'TOKEN_EXPIRED',
  'TOKEN_REVOKED',
  'DEVICE_MISMATCH',
  'TENANT_MISMATCH',
  'PERMISSION_DENIED',
  'INVALID_ARGUMENT',
]);

/**
 * The client link: one WebSocket at a time, requests with answers, heartbeats, and coming back after every loss.
 *
 * `on.state(state)` hears of `{phase: 'connecting' | 'open' | 'waiting' | 'stopped', retryAtMs, reason, message}`; `on.connected(connected)`
 * of each Connected; `on.frame(kind, body)` of what comes unasked, in order.
 */
export class Link {
  #findUrl;
  #credentials;
  #clock;
  #on;
  #socket = null;
  #attempt = 0;
  #nextId = 1;
  /** Request id → `{resolve, reject, timer}`. */
  #answers = new Map();
  #calls = 0;
  #queuedCalls = [];
  #leaveDelayMs = 0;
  #timers = { retry: 0, connect: 0, heartbeat: 0, leave: 0, stable: 0 };

  /**
   * @param findUrl `() => Promise<string>`
   * @param credentials `{token, deviceId}`
   */
  constructor({ findUrl, credentials, clock, on }) {
    this.#findUrl = findUrl;
    this.#credentials = credentials;
    this.#clock = clock;
    this.#on = on;
    this.state = { phase: 'stopped' };
    /** The server drains: nothing new is sent on this connection. */
    this.isLeaving = false;
  }

  get isOpen() {
    return this.state.phase === 'open';
  }

  /** Connects now, whatever it was waiting for. */
  async start() {
    if (this.state.phase === 'connecting' || this.isOpen) return;
    clearTimeout(this.#timers.retry);
    const state = this.#enter({ phase: 'connecting' });
    this.#timers.connect = setTimeout(() => this.#lose(), CONNECT_MS);
    try {
      const url = await this.#findUrl();
      if (this.state === state) this.#attach(new WebSocket(url, [SUBPROTOCOL]));
    } catch {
      if (this.state === state) this.#lose();
    }
  }

  /** Ends the link for good, or until `start`. */
  stop(reason, message = '') {
    this.#detach();
    this.#enter({ phase: 'stopped', reason, message });
  }

  /** Asks whether the connection still lives, as after a sleep of the computer. */
  probe() {
    if (this.isOpen) this.request('ping', {}).catch(() => {});
    else if (this.state.phase === 'waiting') this.start();
  }

  /** Sends a frame that has no answer; lost where there is no connection. */
  tell(kind, body) {
    if (this.isOpen) this.#socket.send(JSON.stringify({ [kind]: body }));
  }

  /** Sends a request; rejects with a `Refusal`. */
  request(kind, body) {
    if (!this.isOpen) return Promise.reject(disconnected());
    return this.#ask(kind, body);
  }

  /**
   * Calls a method, such as `session.v1.SessionService/SyncInbox`, whose request is named after it.
   * @returns {Promise<object>} the method's response
   */
  async call(method, fields) {
    while (this.#calls >= MAX_CALLS) await new Promise((resolve) => this.#queuedCalls.push(resolve));
    this.#calls += 1;
    try {
      const [service, name] = method.split('/');
      const type = `type.googleapis.com/flare.${service.replace(/[^.]+$/, name)}Request`;
      const reply = await this.request('call', { method: `flare.${method}`, request: { '@type': type, ...fields } });
      return reply.response ?? {};
    } finally {
      this.#calls -= 1;
      this.#queuedCalls.shift()?.();
    }
  }

  #ask(kind, body) {
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#lose(), ANSWER_MS);
      this.#answers.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ [kind]: { id, ...body } }));
    });
  }

  #attach(socket) {
    this.#socket = socket;
    socket.onopen = () => this.#connect();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code }) => this.#closed(CLOSE_REASONS[code - 4000] ?? '', '');
  }

  async #connect() {
    const { token, deviceId } = this.#credentials;
    try {
      const connected = await this.#ask('connect', { token, deviceId, platform: 'web', sdkVersion: SDK_VERSION });
      clearTimeout(this.#timers.connect);
      this.#clock.learn(Number(connected.serverTimeMs));
      this.#timers.heartbeat = setInterval(() => this.probe(), connected.heartbeatMs * 0.8);
      this.#timers.stable = setTimeout(() => (this.#attempt = 0), STABLE_MS);
      this.#enter({ phase: 'open' });
      this.#on.connected(connected);
    } catch (refusal) {
      if (refusal.code === DISCONNECTED) return;
      if (FINAL_CODES.has(refusal.code)) this.stop('UNAUTHENTICATED', refusal.message);
      else this.#lose(refusal.retryAfterMs);
    }
  }

  #receive(data) {
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      this.#lose();
      return;
    }
    const [kind, body] = Object.entries(frame)[0] ?? [];
    switch (kind) {
      case 'connected':
      case 'sendAck':
      case 'reply':
        this.#answer(body.id)?.resolve(body);
        break;
      case 'pong':
        this.#clock.learn(Number(body.serverTimeMs));
        this.#answer(body.id)?.resolve(body);
        break;
      case 'error':
        this.#answer(body.id)?.reject(new Refusal(body.error ?? {}));
        break;
      case 'kicked':
        this.#closed(body.reason, body.message);
        break;
      case 'goaway':
        this.#leave(body.reconnectAfterMs ?? 0);
        break;
      default:
        if (kind) this.#on.frame(kind, body);
    }
  }

  #answer(id) {
    const answer = this.#answers.get(id);
    clearTimeout(answer?.timer);
    this.#answers.delete(id);
    return answer;
  }

  #leave(delayMs) {
    this.isLeaving = true;
    this.#leaveDelayMs = delayMs;
    this.#timers.leave = setTimeout(() => this.#lose(delayMs), this.#answers.size > 0 ? LEAVE_MS : 0);
  }

  #closed(reason, message) {
    if (FINAL_REASONS.has(reason)) this.stop(reason, message);
    else this.#lose(this.isLeaving ? this.#leaveDelayMs : 0);
  }

  /** Drops the connection and comes back: after `delayMs`, or the jittered backoff if that is longer. */
  #lose(delayMs = 0) {
    this.#detach();
    const backoffMs = Math.min(MOST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#attempt) * (0.5 + Math.random());
    this.#attempt += 1;
    const waitMs = Math.max(delayMs, backoffMs);
    this.#timers.retry = setTimeout(() => this.start(), waitMs);
    this.#enter({ phase: 'waiting', retryAtMs: performance.now() + waitMs });
  }

  #detach() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.isLeaving = false;
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    const lost = [...this.#answers.values()];
    this.#answers.clear();
    for (const { reject, timer } of lost) {
      clearTimeout(timer);
      reject(disconnected());
    }
  }

  #enter(state) {
    this.state = state;
    this.#on.state(state);
    return state;
  }
}

function disconnected() {
  return new Refusal({ code: DISCONNECTED, message: 'the connection was lost' });
}
