/** More than this above a hole is not kept: the sync that fills the hole brings it too. */
const MAX_WAITING = 500;

/**
 * The order of one conversation's events: hands each out once, without a hole, and keeps what came too early.
 * Everything up to `cursor` was handed out or is left to history.
 */
export class Sequence {
  #waiting = new Map();

  constructor(cursor) {
    this.cursor = cursor;
  }

  /** Takes an event from anywhere (delivered, synced, one's own acked) and returns those that are next. */
  offer(seq, event) {
    if (seq <= this.cursor) return [];
    if (seq === this.cursor + 1 || this.#waiting.size < MAX_WAITING) this.#waiting.set(seq, event);
    return this.#next();
  }

  /** Whether something waits for events that have not come: a sync from the cursor is due. */
  get hasGap() {
    return this.#waiting.size > 0;
  }

  /** Gives up on what lies up to `seq`, and returns what follows it. */
  skipTo(seq) {
    this.cursor = Math.max(this.cursor, seq);
    for (const at of this.#waiting.keys()) if (at <= this.cursor) this.#waiting.delete(at);
    return this.#next();
  }

  #next() {
    const next = [];
    while (this.#waiting.has(this.cursor + 1)) {
      this.cursor += 1;
      next.push(this.#waiting.get(this.cursor));
      this.#waiting.delete(this.cursor);
    }
    return next;
  }
}
