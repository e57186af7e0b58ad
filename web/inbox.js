import { eventFromWire } from './event.js';

const RETRY_MS = 2_000;

/** Follows the inbox: what changed since the last answer, each time somebody asks. */
export class Inbox {
  #link;
  #onEntry;
  #onDone;
  #token = '';
  #isRunning = false;
  #isAskedAgain = false;
  #timer = 0;

  /** @param onEntry `(entry, lastEvent)` for each change; @param onDone `()` after each answer in full */
  constructor({ link, onEntry, onDone }) {
    this.#link = link;
    this.#onEntry = onEntry;
    this.#onDone = onDone;
  }

  /** Asks after a while, once for all who wish it meanwhile. */
  askSoon(delayMs = 200) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.ask(), delayMs);
  }

  async ask() {
    this.#isAskedAgain = this.#isRunning;
    if (this.#isRunning || !this.#link.isOpen) return;
    this.#isRunning = true;
    try {
      let answer;
      do {
        answer = await this.#link.call('session.v1.SessionService/SyncInbox', { token: this.#token });
        for (const entry of answer.entries ?? []) {
          this.#onEntry(entry, entry.lastMessage ? eventFromWire(entry.lastMessage) : null);
        }
        this.#token = answer.token ?? '';
      } while (answer.hasMore);
      this.#onDone();
    } catch (refusal) {
      if (refusal.code === 'INVALID_PAGE_TOKEN') this.#token = '';
      this.askSoon(Math.max(RETRY_MS, refusal.retryAfterMs ?? 0));
    } finally {
      this.#isRunning = false;
    }
    if (this.#isAskedAgain) this.ask();
  }
}
