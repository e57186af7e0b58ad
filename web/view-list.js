import { ofConversation } from './address.js';
import { avatar, el, icon, reconcile } from './dom.js';
import { brief, preview } from './wording.js';

const PIN = 'M9 3h6l-1 6 4 5H6l4-5zM12 14v7';
const BELL_OFF = 'M6 16v-5a6 6 0 0 1 9-5M18 11v5M4 17h13M10 21h4M4 3l17 18';

/** The list of conversations. */
export class ListView {
  #list = document.getElementById('conversations');
  #empty = document.getElementById('no-conversations');
  #hidden = document.getElementById('show-hidden');
  #withHidden = false;

  constructor({ onChange }) {
    this.#hidden.addEventListener('click', () => {
      this.#withHidden = !this.#withHidden;
      onChange();
    });
  }

  render(chat, nowMs) {
    const shown = chat.conversations.list(this.#withHidden);
    const hidden = chat.conversations.list(true).filter((it) => it.settings.hidden).length;
    this.#hidden.hidden = hidden === 0;
    this.#hidden.textContent = this.#withHidden ? 'Leave out hidden ones' : `Show hidden (${hidden})`;
    this.#hidden.setAttribute('aria-pressed', String(this.#withHidden));
    this.#empty.hidden = shown.length > 0;
    this.#empty.textContent = chat.isLoaded ? 'Nothing here yet. Write to somebody, or create a group.' : 'Loading…';
    const rows = shown.map((it) => {
      const isMuted = it.isMuted(nowMs);
      const look = {
        name: it.name,
        line: typing(it) || preview(it.last, chat.me, it.isGroup) || (it.isDisbanded ? 'disbanded' : 'No messages yet'),
        time: brief(it.headTimeMs, nowMs),
        unread: it.unread,
        mentions: it.mentions,
        isMuted,
        isPinned: it.settings.pinned,
        isFaded: !it.canWrite || it.settings.hidden,
        isOpen: it === chat.open,
      };
      return { key: it.id, look, build: () => row(it, look) };
    });
    reconcile(this.#list, rows);
  }
}

/** Who is typing, or ''. */
export function typing(it) {
  const now = performance.now();
  const users = [...it.typing].filter(([, untilMs]) => untilMs > now).map(([user]) => user);
  if (users.length === 0) return '';
  return users.length > 2 ? 'several people are typing…' : `${users.join(' and ')} ${users.length > 1 ? 'are' : 'is'} typing…`;
}

function row(it, { name, line, time, unread, mentions, isMuted, isPinned, isFaded, isOpen }) {
  const marks = [isPinned && 'pinned', isMuted && 'muted'].filter(Boolean).join(', ');
  return el(
    'li',
    {},
    el(
      'a',
      {
        href: ofConversation(it.id),
        class: isFaded ? 'faded' : null,
        'aria-current': isOpen ? 'true' : null,
        'data-action': 'open',
      },
      avatar(name, it.peer || it.id),
      el('span', { class: 'name', dir: 'auto' }, name),
      el('span', { class: 'marks', title: marks }, isPinned && icon(PIN), isMuted && icon(BELL_OFF)),
      el('span', { class: 'when' }, time),
      el(
        'span',
        { class: 'second' },
        el('span', { class: 'line', dir: 'auto' }, line),
        mentions > 0 && badge('at', '@', `, ${mentions} mention${mentions > 1 ? 's' : ''}`),
        unread > 0 && badge(isMuted ? 'quiet' : '', unread > 99 ? '99+' : String(unread), `, ${unread} unread`),
        marks && el('span', { class: 'unseen' }, `, ${marks}`),
      ),
    ),
  );
}

/** A number for the eye, and its meaning for the ear. */
function badge(kind, text, spoken) {
  return el('span', { class: `badge ${kind}` }, el('span', { 'aria-hidden': 'true' }, text), el('span', { class: 'unseen' }, spoken));
}
