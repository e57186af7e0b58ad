import { button, el } from './dom.js';
import { segments } from './mentions.js';
import { shown, timeOfDay } from './wording.js';

/** One message's row. `item` is its entry of the outbox, while it is there. */
export function message(chat, it, event, look, item) {
  const { isMine, goesOn, isRecalled, isRecalling, canRecall, canDiscard, isPending, isFailed, state } = look;
  const classes = [isMine ? 'mine' : 'theirs', goesOn && 'goes-on', isPending && 'pending', isFailed && 'failed'];
  const name = isMine ? 'You' : event.sender || 'System';
  return el(
    'li',
    { class: classes.filter(Boolean).join(' '), tabindex: '-1' },
    el(
      'div',
      { class: 'bubble' },
      el('span', { class: isMine || goesOn || !it.isGroup ? 'unseen' : 'sender', dir: 'auto' }, name),
      isRecalled ? el('p', { class: 'gone' }, 'This message was recalled') : body(event.body.content, chat.me),
      el(
        'p',
        { class: 'meta' },
        el('time', { datetime: new Date(event.timeMs).toISOString() }, timeOfDay(event.timeMs)),
        state && !isRecalled && el('span', { class: 'state' }, state),
      ),
    ),
    el(
      'div',
      { class: 'actions' },
      canRecall &&
        button(isRecalling ? 'Recalling…' : 'Recall', () => chat.recall(it, event.seq), { 'data-action': 'recall', disabled: isRecalling }),
      isFailed && button('Retry', () => chat.retry(item.clientId), { 'data-action': 'retry' }),
      canDiscard && button('Discard', () => chat.discard(item.clientId), { 'data-action': 'discard' }),
    ),
  );
}

function body(content, me) {
  const { text, quoted, url, parts } = shown(content);
  const words = segments(text, content?.text ? content.mentions : []).map((part) =>
    part.userId ? el('span', { class: part.userId === me ? 'mention me' : 'mention' }, part.text) : part.text,
  );
  return el(
    'div',
    { class: 'body', dir: 'auto' },
    quoted && el('blockquote', { dir: 'auto' }, quoted),
    url ? el('a', { href: url, target: '_blank', rel: 'noopener noreferrer' }, ...words) : el('p', {}, ...words),
    parts && el('ul', {}, ...parts.map((part) => el('li', { dir: 'auto' }, part))),
  );
}
