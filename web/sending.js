import { DISCONNECTED } from './refusal.js';

const WINDOW = 32;

/** Moves the outbox over the link, and again after every loss. */
export class Sending {
  #outbox;
  #link;
  #clock;
  #on;
  #timer = 0;
  #window = WINDOW;

  /** @param on `{placed(item, ack), refused(item, refusal), changed()}` */
  constructor({ outbox, link, clock, on }) {
    this.#outbox = outbox;
    this.#link = link;
    this.#clock = clock;
    this.#on = on;
  }

  /** A new connection; its server reads no further when so many sends wait for their acks. */
  resume(maxUnackedSends = WINDOW) {
    this.#window = Math.min(WINDOW, maxUnackedSends);
    this.pump();
  }

  lost() {
    clearTimeout(this.#timer);
    this.#outbox.disconnected();
  }

  /** Sends what may go. */
  pump() {
    clearTimeout(this.#timer);
    if (!this.#link.isOpen || this.#link.isLeaving) return;
    const now = performance.now();
    for (const item of this.#outbox.due(now, this.#window)) this.#send(item);
    const dueMs = this.#outbox.nextDueMs();
    if (dueMs < Infinity) this.#timer = setTimeout(() => this.pump(), Math.max(50, dueMs - now));
  }

  async #send(item) {
    const body = { ...item.to, clientId: item.clientId };
    const abandons = this.#outbox.takeAbandoned(item.lane);
    if (abandons) body.abandons = abandons;
    const isRecall = item.recallSeq > 0;
    if (isRecall) body.recall = { seq: String(item.recallSeq) };
    else body.content = item.content;
    try {
      this.#on.placed(item, await this.#link.request(isRecall ? 'operate' : 'send', body));
    } catch (refusal) {
      if (refusal.code === DISCONNECTED) return;
      if (refusal.serverTimeMs > 0) this.#clock.learn(refusal.serverTimeMs);
      const again = this.#outbox.refused(item.clientId, refusal, performance.now());
      if (!again) this.#on.refused(item, refusal);
    }
    this.#on.changed();
    this.pump();
  }
}
