import { isWithheld } from './event.js';

/** Kinds that say something about the conversation itself, shown as notices. */
const NOTICES = new Set([
  'CONVERSATION_CREATED',
  'CONVERSATION_RENAMED',
  'MEMBERS_ADDED',
  'MEMBER_REMOVED',
  'MEMBER_LEFT',
  'ROLE_CHANGED',
  'OWNERSHIP_TRANSFERRED',
  'CONVERSATION_DISBANDED',
]);
/** How much is kept of a conversation that is not looked at. */
const KEPT_ROWS = 200;

/**
 * The loaded part of a conversation, by rising seq: messages with what later events did to them, and notices.
 * All events from `low` on are in it.
 */
export class Timeline {
  /** `{event, isRecalled}` */
  rows = [];
  #recalled = new Set();

  constructor(low) {
    this.low = low;
    /** Nothing older can be seen. */
    this.isComplete = low <= 1;
  }

  /** Takes the next event. */
  append(event) {
    if (event.kind === 'MESSAGE_RECALLED') this.#recall(event.targetSeq);
    else if (isShown(event)) this.rows.push(this.#row(event));
  }

  /**
   * Takes what lies from `low` to the row that was the oldest.
   * @param messages `{event, isRecalled}`, from history
   * @param events from a sync; messages among them are known from history
   */
  prepend(low, messages, events) {
    if (low >= this.low) return;
    for (const event of events) if (event.kind === 'MESSAGE_RECALLED') this.#recall(event.targetSeq);
    const notices = events.filter((event) => NOTICES.has(event.kind)).map((event) => ({ event, isRecalled: false }));
    const older = [...messages.map((row) => this.#row(row.event, row.isRecalled)), ...notices];
    const inRange = older.filter((row) => row.event.seq >= low && row.event.seq < this.low);
    this.rows = [...inRange.sort((a, b) => a.event.seq - b.event.seq), ...this.rows];
    this.low = low;
  }

  /** Forgets what is far up; it is loaded again by scrolling. */
  trim() {
    if (this.rows.length <= KEPT_ROWS) return;
    this.rows = this.rows.slice(-KEPT_ROWS);
    this.low = this.rows[0].event.seq;
    this.isComplete = false;
  }

  #row(event, isRecalled = false) {
    return { event, isRecalled: isRecalled || isWithheld(event) || this.#recalled.has(event.seq) };
  }

  #recall(seq) {
    this.#recalled.add(seq);
    const row = this.rows.find((it) => it.event.seq === seq);
    if (row) row.isRecalled = true;
  }
}

/**
 * The seqs between `low` and `high` (exclusive) that are not among `seqs`, as ranges of a Sync: what history leaves out are the events that
 * are no messages.
 * @returns {{afterSeq: number, limit: number}[]}
 */
export function holes(seqs, low, high) {
  const ranges = [];
  let next = low;
  for (const seq of [...seqs, high]) {
    if (seq > next) ranges.push({ afterSeq: next - 1, limit: seq - next });
    next = seq + 1;
  }
  return ranges;
}

function isShown(event) {
  return event.kind === 'MESSAGE_CREATED' || NOTICES.has(event.kind);
}
