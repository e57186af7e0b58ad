import { MAX_EVENTS, MAX_RANGES, sync } from './ranges.js';

/** Who is further behind than this begins anew at the head; what lies between is left to history. */
const MAX_BEHIND = 1_000;
const FIRST_DELAY_MS = 250;
const MOST_DELAY_MS = 8_000;

/** Brings conversations up to date by Sync: where a hole was seen, where the inbox is ahead, where the server hints. */
export class Repair {
  #link;
  #conversations;
  #onEvents;
  /** Conversation id → `{dueMs, tries}`. */
  #needs = new Map();
  #timer = 0;
  #isRunning = false;

  /** @param onEvents `(conversation, events)`: those that are next */
  constructor({ link, conversations, onEvents }) {
    this.#link = link;
    this.#conversations = conversations;
    this.#onEvents = onEvents;
  }

  /** Syncs a conversation after a while in which what is missing may still come by itself. */
  need(id, delayMs = 0) {
    const dueMs = performance.now() + delayMs;
    const known = this.#needs.get(id);
    this.#needs.set(id, { dueMs: Math.min(dueMs, known?.dueMs ?? Infinity), tries: known?.tries ?? 0 });
    this.#arm();
  }

  #arm() {
    clearTimeout(this.#timer);
    if (this.#isRunning || this.#needs.size === 0 || !this.#link.isOpen) return;
    const dueMs = Math.min(...[...this.#needs.values()].map((need) => need.dueMs));
    this.#timer = setTimeout(() => this.#run(), Math.max(0, dueMs - performance.now()));
  }

  async #run() {
    const now = performance.now();
    const due = [...this.#needs].filter(([, need]) => need.dueMs <= now).slice(0, MAX_RANGES);
    const ranges = [];
    for (const [id] of due) {
      this.#needs.delete(id);
      const it = this.#conversations.get(id);
      if (!it || it.isDraft) continue;
      if (it.headSeq - it.sequence.cursor > MAX_BEHIND) it.restart(it.headSeq);
      ranges.push({ conversationId: id, afterSeq: it.sequence.cursor, limit: MAX_EVENTS });
    }
    this.#isRunning = true;
    try {
      const results = ranges.length > 0 ? await sync(this.#link, ranges) : [];
      for (const result of results) this.#take(result, due.find(([id]) => id === result.conversationId)?.[1].tries ?? 0);
    } catch {
      for (const [id, need] of due) this.#again(id, need.tries);
    } finally {
      this.#isRunning = false;
      this.#arm();
    }
  }

  #take(result, tries) {
    const it = this.#conversations.get(result.conversationId);
    if (!it) return;
    if (result.error) {
      if (result.error.isRetryable) this.#again(it.id, tries);
      return;
    }
    // An empty conversation has the floor 0.
    const next = result.floorSeq > it.sequence.cursor + 1 ? it.sequence.skipTo(result.floorSeq - 1) : [];
    for (const event of result.events) next.push(...it.sequence.offer(event.seq, event));
    this.#onEvents(it, next);
    if (result.hasMore) this.need(it.id);
    else if (it.sequence.hasGap) this.#again(it.id, tries);
  }

  #again(id, tries) {
    const delayMs = Math.min(MOST_DELAY_MS, FIRST_DELAY_MS * 2 ** tries);
    this.#needs.set(id, { dueMs: performance.now() + delayMs, tries: tries + 1 });
  }

  /** The link is open: what could not be asked is asked. */
  resume() {
    this.#arm();
  }
}
