import { button, el, reconcile } from './dom.js';
import { may } from './groups.js';
import { message } from './view-message.js';
import { typing } from './view-list.js';
import { day, notice } from './wording.js';

/** So near to the end counts as at the end. */
const NEAR_PX = 60;
/** So near to the beginning loads what is older. */
const OLDER_PX = 300;
const RUN_MS = 5 * 60_000;

/** The open conversation: its messages, and where the reader stands in them. */
export class ThreadView {
  #pane = document.getElementById('thread');
  #name = document.getElementById('thread-name');
  #about = document.getElementById('thread-about');
  #scroller = document.getElementById('messages');
  #list = document.getElementById('message-list');
  #older = document.getElementById('older');
  #down = document.getElementById('to-end');
  #chat = null;
  #shown = null;
  #isAtEnd = true;

  constructor() {
    this.#scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    this.#down.addEventListener('click', () => this.#toEnd());
    document.addEventListener('visibilitychange', () => this.#scrolled());
    new ResizeObserver(() => this.#isAtEnd && this.#toEnd()).observe(this.#scroller);
  }

  render(chat, nowMs) {
    this.#chat = chat;
    const it = chat.open;
    document.body.classList.toggle('has-open', it !== null);
    this.#pane.classList.toggle('empty', it === null);
    if (!it) {
      this.#shown = null;
      return;
    }
    this.#name.textContent = it.name;
    this.#about.textContent = typing(it) || about(it);
    const isNew = this.#shown !== it;
    if (isNew) this.#list.replaceChildren();
    const staysAtEnd = isNew || this.#isAtEnd;
    const reading = staysAtEnd ? null : this.#firstInView();
    this.#renderOlder(it);
    reconcile(this.#list, rows(chat, it, nowMs));
    if (staysAtEnd) this.#toEnd();
    else if (reading) this.#keepInPlace(reading);
    this.#shown = it;
    this.#scrolled();
  }

  /** What the user writes is seen at once. */
  follow() {
    this.#isAtEnd = true;
  }

  #renderOlder(it) {
    const { isComplete, rows: loaded } = it.timeline;
    const text = it.isLoading
      ? 'Loading…'
      : it.trouble
        ? `Earlier messages could not be loaded: ${it.trouble}`
        : isComplete && loaded.length > 0
          ? 'This is the beginning'
          : isComplete && it.isDraft
            ? `Your first message to ${it.peer} starts the conversation.`
            : '';
    const again = it.trouble && !it.isLoading ? button('Try again', () => this.#chat.loadOlder(it)) : '';
    if (this.#older.textContent !== text + (again && 'Try again')) this.#older.replaceChildren(text, again);
  }

  /** The message that is read, and where it is. */
  #firstInView() {
    const { top } = this.#scroller.getBoundingClientRect();
    const messages = [...this.#list.children].filter((row) => row.matches('.mine, .theirs'));
    const first = messages.find((row) => row.getBoundingClientRect().bottom > top);
    return first && { key: first.rowKey, top: first.getBoundingClientRect().top };
  }

  /** Rows may have come or gone above it. */
  #keepInPlace({ key, top }) {
    const row = [...this.#list.children].find((it) => it.rowKey === key);
    if (row) this.#scroller.scrollTop += row.getBoundingClientRect().top - top;
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#scrolled();
  }

  #scrolled() {
    const it = this.#shown;
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    this.#down.hidden = this.#isAtEnd || !it;
    if (!it) return;
    if (scrollTop < OLDER_PX && !it.trouble && !it.isLoading && !it.timeline.isComplete) this.#chat.loadOlder(it);
    if (this.#isAtEnd && document.visibilityState === 'visible' && clientHeight > 0) this.#chat.receipts.seen(it);
    this.#down.textContent = it.unread > 0 ? `↓ ${it.unread} new` : '↓ To the end';
  }
}

function about(it) {
  if (it.isDisbanded) return 'Disbanded';
  if (it.isFormer) return 'You are not a member any more';
  return it.isGroup ? `${it.memberCount} ${it.memberCount === 1 ? 'member' : 'members'}` : 'Direct conversation';
}

/** Days, notices, messages, and what waits to be sent. */
function rows(chat, it, nowMs) {
  const made = [];
  const waiting = chat.outbox.of(it.id);
  const recalls = new Set(waiting.map((item) => item.recallSeq));
  let before = null;
  const put = (event, row) => {
    const today = day(event.timeMs, nowMs);
    if (!before || day(before.timeMs, nowMs) !== today) {
      made.push(line(`day ${today}`, 'day', today));
      before = null;
    }
    if (event.seq >= it.newFromSeq && !(before?.seq >= it.newFromSeq) && event.sender !== chat.me) {
      if (!made.some((other) => other.key === 'new')) made.push(line('new', 'new', 'New messages'));
      before = null;
    }
    made.push(row(before?.kind === event.kind && before.sender === event.sender && event.timeMs - before.timeMs < RUN_MS));
    before = event;
  };
  for (const { event, isRecalled } of it.timeline.rows) {
    put(event, (goesOn) => {
      if (event.kind !== 'MESSAGE_CREATED') return line(event.seq, 'notice', notice(event, chat.me));
      const isMine = event.sender === chat.me;
      const look = {
        isMine,
        goesOn,
        isRecalled,
        isRecalling: recalls.has(event.seq),
        canRecall: !isRecalled && it.canWrite && (isMine || may(it, 'recall')),
        state: isMine ? readState(it, event.seq) : '',
      };
      return { key: isMine && event.clientId ? event.clientId : event.seq, look, build: () => message(chat, it, event, look) };
    });
  }
  for (const item of waiting.filter((it) => it.content)) {
    const event = { seq: NaN, sender: chat.me, timeMs: item.timeMs, kind: 'MESSAGE_CREATED', body: { content: item.content } };
    const isPending = item.state !== 'placed';
    const isFailed = item.state === 'failed';
    const waits = item.reason ? `Waiting: ${item.reason}` : item.state === 'sent' ? 'Sending…' : 'Waiting…';
    const state = isFailed ? `Not sent: ${item.reason}` : isPending ? waits : 'Sent';
    put(event, (goesOn) => {
      const look = { isMine: true, goesOn, state, isPending, isFailed, canDiscard: isPending && item.state !== 'sent' };
      return { key: item.clientId, look, build: () => message(chat, it, event, look, item) };
    });
  }
  return made;
}

function line(key, kind, text) {
  return { key, look: text, build: () => el('li', { class: kind }, el('span', { dir: 'auto' }, text)) };
}

/** How many others have read up to a message. */
function readState(it, seq) {
  const readers = [...it.positions].filter(([user, read]) => read >= seq && (it.isGroup || user === it.peer));
  const others = it.isGroup ? readers.length : Math.min(1, readers.length);
  if (others === 0) return 'Sent';
  return it.isGroup ? `Read by ${others}` : 'Read';
}
