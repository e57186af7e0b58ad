const MAX_ITEMS = 500;
const FIRST_DELAY_MS = 500;
const MOST_DELAY_MS = 30_000;

/**
 * What was said and is not shown as an event yet, in the order in which it was said. An item keeps its client id and its target through every
 * resend, so that the server takes it once. Its ack may overtake the events before it; until these have come, the item stays and stands for it.
 *
 * Items of one conversation form a lane. After a refusal that may be retried the server refuses whatever follows in the lane
 * (RETRY_IN_ORDER) until the refused one comes again; so the lane stands still until nothing of it is in flight and the delay is over, then
 * goes on from its first item.
 *
 * An item: `{clientId, lane, to, content | recallSeq, timeMs, state: 'queued' | 'sent' | 'placed' | 'failed', seq, attempts, reason}`.
 */
export class Outbox {
  #store;
  /** Lane → the time before which it stands still. */
  #holds = new Map();
  /** Lane → client ids that the server still waits for and that were given up. */
  #abandoned = new Map();

  /** @param store `{load(): items, save(items)}` */
  constructor(store) {
    this.#store = store;
    this.items = store.load().filter((item) => item.state !== 'placed');
    for (const item of this.items) if (item.state === 'sent') item.state = 'queued';
  }

  /** False: it is full, and nothing was taken. */
  add(item) {
    if (this.items.length >= MAX_ITEMS) return false;
    this.items.push({ ...item, state: 'queued', attempts: 0, reason: '' });
    this.#save();
    return true;
  }

  of(lane) {
    return this.items.filter((item) => item.lane === lane);
  }

  /** What is to be sent now, at most so much that `window` items are in flight. It counts as sent. */
  due(nowMs, window) {
    for (const [lane, untilMs] of this.#holds) {
      if (untilMs <= nowMs && !this.#inFlight(lane)) this.#holds.delete(lane);
    }
    const room = Math.max(0, window - this.items.filter((item) => item.state === 'sent').length);
    const due = this.items.filter((item) => item.state === 'queued' && !this.#holds.has(item.lane)).slice(0, room);
    for (const item of due) item.state = 'sent';
    return due;
  }

  /** When a lane that stands still may go on; Infinity: none does. */
  nextDueMs() {
    return Math.min(...this.#holds.values());
  }

  /** A given-up client id for the next frame of the lane to name, or ''. */
  takeAbandoned(lane) {
    return this.#abandoned.get(lane)?.shift() ?? '';
  }

  /** It is acked. */
  placed(clientId, seq) {
    const item = this.#find(clientId);
    if (!item) return;
    Object.assign(item, { state: 'placed', seq, reason: '' });
    this.#save();
  }

  /** Its event came. */
  arrived(clientId) {
    this.#remove(clientId);
  }

  /** All events of a lane up to `seq` came, or are left to history. */
  reached(lane, seq) {
    for (const item of this.of(lane)) if (item.state === 'placed' && item.seq <= seq) this.#remove(item.clientId);
  }

  /** Takes a refusal; true if the item will be sent again by itself. */
  refused(clientId, refusal, nowMs) {
    const item = this.#find(clientId);
    if (!item) return false;
    item.reason = refusal.message;
    item.state = refusal.isRetryable ? 'queued' : 'failed';
    item.code = refusal.code;
    if (refusal.isRetryable) this.#hold(item, refusal, nowMs);
    this.#save();
    return refusal.isRetryable;
  }

  /** The connection is gone, and with it what the server knew of the lanes. */
  disconnected() {
    this.#holds.clear();
    this.#abandoned.clear();
    for (const item of this.items) if (item.state === 'sent') item.state = 'queued';
  }

  /** Says a failed item once more, behind what was said since. `clientId` is a fresh one, for failures that stick to the id. */
  retry(clientId, freshId) {
    const item = this.#remove(clientId);
    if (!item) return;
    const sticks = item.code === 'ALREADY_EXISTS' || item.code === 'CLIENT_ID_IN_FUTURE';
    this.add({ ...item, clientId: sticks ? freshId : clientId, code: '' });
  }

  /** Gives an item up that is not in flight. */
  discard(clientId) {
    const item = this.#find(clientId);
    if (!item || item.state === 'sent' || item.state === 'placed') return;
    this.#remove(clientId);
    if (item.state === 'queued' && item.attempts > 0) {
      this.#abandoned.set(item.lane, [...(this.#abandoned.get(item.lane) ?? []), clientId]);
    }
  }

  /** The lane has another name: a direct conversation that got its id. */
  rename(from, to) {
    for (const item of this.of(from)) item.lane = to;
    for (const lanes of [this.#holds, this.#abandoned]) {
      if (lanes.has(from)) lanes.set(to, lanes.get(from));
      lanes.delete(from);
    }
    this.#save();
  }

  #hold(item, refusal, nowMs) {
    item.attempts += 1;
    const growing = Math.min(MOST_DELAY_MS, FIRST_DELAY_MS * 2 ** (item.attempts - 1));
    const delayMs = refusal.code === 'RETRY_IN_ORDER' ? 0 : Math.max(refusal.retryAfterMs, growing);
    this.#holds.set(item.lane, Math.max(this.#holds.get(item.lane) ?? 0, nowMs + delayMs));
  }

  #inFlight(lane) {
    return this.items.some((item) => item.lane === lane && item.state === 'sent');
  }

  #find(clientId) {
    return this.items.find((item) => item.clientId === clientId);
  }

  #remove(clientId) {
    const item = this.#find(clientId);
    if (item) {
      this.items.splice(this.items.indexOf(item), 1);
      this.#save();
    }
    return item;
  }

  #save() {
    this.#store.save(this.items);
  }
}

/** Keeps an outbox in the tab's session storage; where that is full or closed, in memory only. */
export function sessionStore(key, storage = sessionStorage) {
  return {
    load() {
      try {
        return JSON.parse(storage.getItem(key)) ?? [];
      } catch {
        return [];
      }
    },
    save(items) {
      try {
        storage.setItem(key, JSON.stringify(items));
      } catch (error) {
        console.warn('the outbox does not outlive this page:', error.message);
      }
    },
  };
}
