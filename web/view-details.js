import { confirm, field, form, userIds } from './dialogs.js';
import { avatar, button, el, reconcile } from './dom.js';
import { may } from './groups.js';

const ROLES = { OWNER: 'Owner', ADMIN: 'Admin', MEMBER: 'Member' };
const FOR_EVER = '-1';

/** The panel beside a conversation: one's settings, its members, and what one's role may do. */
export class DetailsView {
  #pane = document.getElementById('details');
  #list = document.getElementById('details-list');
  #toggle = document.getElementById('toggle-details');
  #isWanted = false;

  constructor({ onChange, onLeft }) {
    this.onLeft = onLeft;
    const set = (isWanted) => {
      this.#isWanted = isWanted;
      // At once: what is hidden cannot take the focus.
      this.#pane.hidden = !isWanted;
      onChange();
      (isWanted ? document.getElementById('close-details') : this.#toggle).focus();
    };
    this.#toggle.addEventListener('click', () => set(!this.#isWanted));
    document.getElementById('close-details').addEventListener('click', () => set(false));
    this.#pane.addEventListener('keydown', (event) => event.key === 'Escape' && set(false));
  }

  render(chat, nowMs) {
    const it = chat.open;
    const isShown = this.#isWanted && it !== null && !it.isDraft;
    this.#pane.hidden = !isShown;
    this.#toggle.hidden = !it || it.isDraft;
    this.#toggle.setAttribute('aria-expanded', String(isShown));
    if (isShown) reconcile(this.#list, [this.#settings(chat, it, nowMs), ...this.#members(chat, it), this.#group(chat, it)]);
  }

  #settings(chat, it, nowMs) {
    const isMuted = it.isMuted(nowMs);
    const { pinned, hidden } = it.settings;
    const set = (patch) => chat.updateSettings(it, patch);
    const build = () =>
      el(
        'li',
        { class: 'switches' },
        toggle('Pin', pinned, () => set({ pinned: !pinned })),
        toggle('Mute', isMuted, () => set({ muteUntilMs: isMuted ? '0' : FOR_EVER })),
        toggle('Hide', hidden, () => set({ hidden: !hidden })),
      );
    return { key: `${it.id} settings`, look: { isMuted, pinned, hidden }, build };
  }

  #members(chat, it) {
    if (!it.isGroup) return [];
    if (!it.members) return [{ key: 'loading', look: '', build: () => el('li', {}, it.isFormer ? '' : 'Loading…') }];
    return it.members.map(({ userId, role }) => {
      const acts = userId === chat.me ? [] : this.#actions(chat, it, userId, role);
      const build = () =>
        el(
          'li',
          { class: 'member' },
          avatar(userId),
          el('span', { class: 'name', dir: 'auto' }, userId === chat.me ? `${userId} (you)` : userId),
          el('span', { class: 'role' }, ROLES[role] ?? ''),
          acts.length > 0 && el('div', { class: 'buttons', role: 'group', 'aria-label': userId }, ...acts.map(actButton)),
        );
      return { key: `${it.id} ${userId}`, look: { role, acts: acts.map(([text]) => text) }, build };
    });
  }

  #actions(chat, it, userId, role) {
    const change = (name, fields) => chat.change(it, name, { userId, ...fields });
    const acts = [];
    if (may(it, 'role') && role === 'MEMBER') acts.push(['Make admin', () => change('SetRole', { role: 'ADMIN' })]);
    if (may(it, 'role') && role === 'ADMIN') acts.push(['Make member', () => change('SetRole', { role: 'MEMBER' })]);
    if (may(it, 'transfer')) {
      const text = `${userId} becomes the owner in your place.`;
      acts.push(['Make owner', () => confirm('Hand the group over?', text, 'Hand over', () => change('TransferOwnership', {}))]);
    }
    if (may(it, `remove-${role}`)) {
      acts.push(['Remove', () => confirm(`Remove ${userId}?`, 'They keep what they have read so far.', 'Remove', () => change('RemoveMember', {}))]);
    }
    return acts;
  }

  #group(chat, it) {
    const leave = () => this.#leave(chat, it);
    const disband = () => chat.change(it, 'DisbandConversation');
    const acts = Object.entries({
      rename: ['Rename', () => rename(chat, it)],
      add: ['Add members', () => add(chat, it)],
      leave: ['Leave', () => confirm('Leave the group?', 'You keep what you have read so far.', 'Leave', leave)],
      disband: ['Disband', () => confirm('Disband the group?', 'Nobody can write in it any more.', 'Disband', disband)],
    }).filter(([action]) => may(it, action));
    const build = () => el('li', { class: 'buttons' }, ...acts.map(([, act]) => actButton(act)));
    return { key: `${it.id} group`, look: acts.map(([action]) => action), build };
  }

  async #leave(chat, it) {
    if (await chat.change(it, 'LeaveConversation')) this.onLeft();
  }
}

function actButton([text, act]) {
  return button(text, act, { 'data-action': text });
}

function toggle(text, isOn, act) {
  return button(text, act, { 'aria-pressed': String(isOn), 'data-action': text });
}

function rename(chat, it) {
  form({
    title: 'Rename the group',
    fields: [field('Name', { name: 'title', value: it.title, maxlength: 200, required: true })],
    send: 'Rename',
    onSend: ({ title }) => void chat.change(it, 'RenameConversation', { title: title.trim() }),
  });
}

function add(chat, it) {
  form({
    title: 'Add members',
    fields: [field('User ids', { name: 'users', rows: 2, required: true }, 'Separated by spaces or commas')],
    send: 'Add',
    onSend: ({ users }) => void chat.change(it, 'AddMembers', { userIds: userIds(users) }),
  });
}
