/** Sentences for what happened to a conversation. */
export function notice(event, me) {
  const name = (user) => (user === me ? 'you' : user || 'the system');
  const who = capital(name(event.sender));
  const { body } = event;
  const list = (members = []) => members.map((member) => name(member.userId)).join(', ');
  switch (event.kind) {
    case 'CONVERSATION_CREATED':
      return `${who} created the group${body.title ? ` “${body.title}”` : ''}`;
    case 'CONVERSATION_RENAMED':
      return `${who} renamed the group to “${body.title ?? ''}”`;
    case 'MEMBERS_ADDED':
      return `${who} added ${list(body.members)}`;
    case 'MEMBER_REMOVED':
      return `${who} removed ${name(body.userId)}`;
    case 'MEMBER_LEFT':
      return `${capital(name(body.userId ?? event.sender))} left`;
    case 'ROLE_CHANGED':
      return `${who} made ${name(body.userId)} ${body.role === 'ADMIN' ? 'an admin' : 'a member'}`;
    case 'OWNERSHIP_TRANSFERRED':
      return `${capital(name(body.toUserId))} ${body.toUserId === me ? 'are' : 'is'} the owner now`;
    case 'CONVERSATION_DISBANDED':
      return `${who} disbanded the group`;
    default:
      return '';
  }
}

/**
 * What a content shows: `text` always, `quoted` for an answer, `url` for what lies elsewhere, `parts` for merged messages. A kind that the page
 * does not know shows its fallback.
 */
export function shown(content = {}) {
  const { text, notice: said, quote, image, audio, video, file, location, card, sticker, forward } = content;
  if (text) return { text: text.text ?? '' };
  if (said) return { text: said.text ?? '' };
  if (quote) return { text: quote.text ?? '', quoted: `${quote.senderId ?? ''}: ${quote.preview ?? ''}` };
  if (image) return media('Image', image, content);
  if (video) return media('Video', video, content);
  if (audio) return media('Audio', audio, content);
  if (file) return media(file.name || 'File', file, content);
  if (location) return { text: `Location: ${[location.name, location.address].filter(Boolean).join(', ') || coordinates(location)}` };
  if (card) return { text: `Card: ${card.title ?? card.subjectId ?? ''}` };
  if (sticker) return { text: content.fallback || 'Sticker' };
  if (forward) {
    const parts = (forward.messages ?? []).map((it) => `${it.senderName || it.senderId || ''}: ${shown(it.content).text}`);
    return { text: forward.title || 'Forwarded messages', parts };
  }
  return { text: content.fallback || 'This kind of message cannot be shown here' };
}

/** One line for lists. */
export function preview(last, me, isGroup) {
  if (!last) return '';
  const { event, isRecalled } = last;
  const from = event.sender === me ? 'You: ' : isGroup && event.sender ? `${event.sender}: ` : '';
  return from + (isRecalled ? 'message recalled' : shown(event.body.content).text.replace(/\s+/g, ' ').slice(0, 120));
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });

export function timeOfDay(ms) {
  return TIME.format(ms);
}

export function day(ms, nowMs) {
  if (new Date(ms).toDateString() === new Date(nowMs).toDateString()) return 'Today';
  return (nowMs - ms < 300 * 86_400_000 ? DAY : DATE).format(ms);
}

/** A time in a list: today's by the clock, others by the date. */
export function brief(ms, nowMs) {
  if (!ms) return '';
  return new Date(ms).toDateString() === new Date(nowMs).toDateString() ? timeOfDay(ms) : DATE.format(ms);
}

function media(label, { url, sizeBytes }, { fallback }) {
  const size = Number(sizeBytes ?? 0);
  const text = [fallback || label, size > 0 ? `(${Math.max(1, Math.round(size / 1024))} KiB)` : ''].join(' ').trim();
  return { text, ...(/^https?:\/\//i.test(url ?? '') && { url }) };
}

function coordinates({ latitudeDeg = 0, longitudeDeg = 0 }) {
  return `${latitudeDeg}, ${longitudeDeg}`;
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
