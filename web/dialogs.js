import { button, el } from './dom.js';

/** Shows a dialog with a form until it is sent or closed. `onSend(fields)` may answer with a complaint, which keeps it open. */
export function form({ title, text, fields, send, onSend }) {
  const complaint = el('p', { class: 'complaint', role: 'alert' });
  const dialog = el(
    'dialog',
    { 'aria-label': title, close: () => dialog.remove() },
    el(
      'form',
      {
        method: 'dialog',
        submit: async (submitted) => {
          submitted.preventDefault();
          const trouble = await onSend(Object.fromEntries(new FormData(submitted.target)));
          complaint.textContent = trouble ?? '';
          if (!trouble) dialog.close();
        },
      },
      el('h2', {}, title),
      text && el('p', {}, text),
      ...fields,
      complaint,
      el('div', { class: 'buttons' }, button('Cancel', () => dialog.close()), el('button', { class: 'primary' }, send)),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

/** A labelled field of a form. */
export function field(label, attributes, hint) {
  const input = el(attributes.rows ? 'textarea' : 'input', { autocomplete: 'off', spellcheck: 'false', ...attributes });
  const isTick = attributes.type === 'checkbox';
  return el('label', { class: isTick ? 'tick' : 'field' }, isTick && input, el('span', {}, label), !isTick && input, hint && el('small', {}, hint));
}

/** Asks before something that cannot be undone. */
export function confirm(title, text, send, act) {
  form({ title, text, fields: [], send, onSend: () => void act() });
}

export function newDirect(open) {
  form({
    title: 'New message',
    fields: [field('User id', { name: 'user', required: true, maxlength: 64, pattern: '[A-Za-z0-9._:@+=~\\-]+' }, 'For example: bob')],
    send: 'Write',
    onSend: ({ user }) => void open(user.trim()),
  });
}

export function newGroup(create) {
  form({
    title: 'New group',
    fields: [
      field('Name', { name: 'title', maxlength: 200 }),
      field('Members', { name: 'members', rows: 2 }, 'User ids, separated by spaces or commas'),
      field('New members see earlier messages', { name: 'all', type: 'checkbox', checked: true }),
    ],
    send: 'Create',
    onSend: async ({ title, members, all }) => {
      try {
        await create(title.trim(), userIds(members), all ? 'ALL' : 'SINCE_JOIN');
        return '';
      } catch (refusal) {
        return refusal.message;
      }
    },
  });
}

/** The user ids of a typed list. */
export function userIds(text) {
  return [...new Set(text.split(/[\s,;，、]+/).filter(Boolean))];
}
