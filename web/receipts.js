const GATHER_MS = 300;
const RETRY_MS = 1_500;
const MAX_ACK_POSITIONS = 1_000;
const MAX_POSITION_PAGES = 3;
const TYPING_EVERY_MS = 3_000;
const TYPING_LASTS_MS = 6_000;

/** What is told of messages beside themselves: received, read, being typed. */
export class Receipts {
  #link;
  #conversations;
  #onChange;
  #received = new Set();
  #read = new Set();
  #timer = 0;
  /** The conversation in which the user types, and when that was told last. */
  #typed = { id: '', atMs: 0 };

  constructor({ link, conversations, onChange }) {
    this.#link = link;
    this.#conversations = conversations;
    this.#onChange = onChange;
  }

  /** This device has everything up to the conversation's cursor. */
  received(it) {
    this.#received.add(it);
    this.#gather(GATHER_MS);
  }

  /** The user looks at the conversation's end. */
  seen(it) {
    const seq = it.sequence.cursor;
    if (seq <= it.readSeq || it.isFormer || it.isDraft) return;
    this.#conversations.read(it, seq);
    this.#read.add(it);
    this.#gather(GATHER_MS);
    this.#onChange();
  }

  resume() {
    this.#gather(0);
  }

  /** How far the others have read. */
  async loadPositions(it) {
    if (it.isDraft || it.isFormer) return;
    let pageToken = '';
    for (let page = 0; page < MAX_POSITION_PAGES; page += 1) {
      const answer = await this.#link.call('session.v1.SessionService/ListPositions', {
        conversationId: it.id,
        pageSize: 200,
        pageToken,
      });
      for (const { userId, readSeq } of answer.positions ?? []) readUpTo(it, userId, Number(readSeq ?? 0));
      pageToken = answer.nextPageToken ?? '';
      if (!pageToken) break;
    }
    this.#onChange();
  }

  /** Takes a signal of another user, or of oneself on another device. False: the inbox has to be asked. */
  signalled(it, user, me, { typing, read, settings }) {
    if (settings) return false;
    if (typing && user !== me) {
      if (typing.active) it.typing.set(user, performance.now() + TYPING_LASTS_MS);
      else it.typing.delete(user);
      setTimeout(this.#onChange, TYPING_LASTS_MS + 50);
    }
    if (read && user === me) return this.#conversations.read(it, Number(read.seq ?? 0));
    if (read) readUpTo(it, user, Number(read.seq ?? 0));
    return true;
  }

  /** The user types in a conversation, or has stopped. */
  typing(it, isActive) {
    if (it.isDraft || !it.canWrite) return;
    const now = performance.now();
    const isTold = this.#typed.id === it.id && now - this.#typed.atMs < TYPING_EVERY_MS;
    if (isActive === isTold) return;
    if (!isActive && this.#typed.id !== it.id) return;
    this.#typed = isActive ? { id: it.id, atMs: now } : { id: '', atMs: 0 };
    this.#link.tell('signal', { conversationId: it.id, typing: { active: isActive } });
  }

  #gather(delayMs) {
    if (this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      if (this.#link.isOpen) this.#flush();
    }, delayMs);
  }

  #flush() {
    const positions = [...this.#received].map((it) => ({ conversationId: it.id, seq: String(it.sequence.cursor) }));
    this.#received.clear();
    for (let at = 0; at < positions.length; at += MAX_ACK_POSITIONS) {
      this.#link.tell('ack', { positions: positions.slice(at, at + MAX_ACK_POSITIONS) });
    }
    for (const it of this.#read) this.#markRead(it);
    this.#read.clear();
  }

  async #markRead(it) {
    try {
      await this.#link.call('session.v1.SessionService/MarkRead', { conversationId: it.id, seq: String(it.readSeq) });
    } catch (refusal) {
      // The service that keeps positions may hear of a message a moment after its reader.
      if (!refusal.isRetryable && refusal.code !== 'POSITION_BEYOND_HEAD' && this.#link.isOpen) return;
      this.#read.add(it);
      this.#gather(Math.max(RETRY_MS, refusal.retryAfterMs));
    }
  }
}

function readUpTo(it, user, seq) {
  if (seq > (it.positions.get(user) ?? 0)) it.positions.set(user, seq);
}
