import { isWithheld, mentionsUser, isGroup } from './event.js';
import { Sequence } from './sequence.js';
import { Timeline } from './timeline.js';

const NO_SETTINGS = { muteUntilMs: 0, pinned: false, hidden: false };

/** One conversation as this page knows it. */
class Conversation {
  title = '';
  ownerId = '';
  memberCount = 0;
  isDisbanded = false;
  isFormer = false;
  role = '';
  settings = NO_SETTINGS;
  /** The newest event of which unread counts and the last message know. */
  headSeq = 0;
  headTimeMs = 0;
  readSeq = 0;
  unread = 0;
  mentions = 0;
  /** `{event, isRecalled}` or null */
  last = null;
  /** Other users' read positions: user → seq. */
  positions = new Map();
  /** Who is typing: user → until when, in milliseconds of the page's clock. */
  typing = new Map();
  /** `{userId, role}`, or null while nobody asked. */
  members = null;
  /** Whether the inbox has told of it: a title and a role are known. */
  isKnown = false;

  constructor(id, { isGroup, participants, me, cursor }) {
    this.id = id;
    this.identify({ isGroup, participants, me });
    this.restart(cursor);
  }

  /** Whose it is. One's own ack, which may come before the inbox, does not say; then there are no participants. */
  identify({ isGroup, participants, me }) {
    this.isGroup = isGroup;
    this.participants = participants;
    /** The other one of a direct conversation; in one with oneself that is oneself. */
    this.peer = isGroup ? '' : (participants.find((user) => user !== me) ?? participants[0] ?? '');
  }

  /** Begins anew from a seq; older events are left to history. */
  restart(cursor) {
    this.sequence = new Sequence(cursor);
    this.timeline = new Timeline(cursor + 1);
  }

  get isDraft() {
    return this.id.startsWith('user:');
  }

  get canWrite() {
    return !this.isDisbanded && !this.isFormer;
  }

  get name() {
    return this.isGroup ? this.title || `Group ${this.id}` : this.peer;
  }

  isMuted(nowMs) {
    const until = this.settings.muteUntilMs;
    return until === -1 || until > nowMs;
  }
}

/** The user's conversations. */
export class Conversations {
  #byId = new Map();
  #me;

  constructor(me) {
    this.#me = me;
  }

  get(id) {
    return this.#byId.get(id);
  }

  all() {
    return [...this.#byId.values()];
  }

  /** Pinned ones first, then by their last event; without drafts and, unless asked for, hidden ones. */
  list(withHidden) {
    return this.all()
      .filter((it) => !it.isDraft && it.name && (withHidden || !it.settings.hidden))
      .sort((a, b) => b.settings.pinned - a.settings.pinned || b.headTimeMs - a.headTimeMs || (a.id < b.id ? -1 : 1));
  }

  directWith(user) {
    return this.all().find((it) => !it.isGroup && it.peer === user);
  }

  /** A direct conversation that gets its id with the first message. */
  draft(user) {
    const id = `user:${user}`;
    return this.#byId.get(id) ?? this.#make(id, { isGroup: false, participants: [this.#me, user], cursor: 0 });
  }

  dropDraft(id) {
    this.#byId.delete(id);
  }

  /** The conversation of an event; made where it is the first that is heard of it. */
  ofEvent(event) {
    return this.#byId.get(event.conversationId) ?? this.#make(event.conversationId, { ...event, cursor: event.seq - 1 });
  }

  /** Takes what the inbox says. Counts of an answer that is older than the events applied here are left alone. */
  merge(entry, lastEvent) {
    const told = entry.conversation;
    const headSeq = Number(entry.headSeq ?? 0);
    const identity = { isGroup: isGroup(told.class), participants: told.participants ?? [], me: this.#me };
    const it = this.#byId.get(told.conversationId) ?? this.#make(told.conversationId, { ...identity, cursor: headSeq });
    if (!it.isKnown) it.identify(identity);
    const settings = entry.settings ?? {};
    Object.assign(it, {
      isKnown: true,
      title: told.title ?? '',
      ownerId: told.ownerId ?? '',
      memberCount: told.memberCount ?? 0,
      isDisbanded: told.disbanded === true,
      isFormer: entry.state === 'FORMER',
      role: entry.role ?? '',
      settings: settingsFromWire(settings),
      readSeq: Math.max(it.readSeq, Number(entry.readSeq ?? 0)),
    });
    if (headSeq >= it.headSeq) {
      it.headSeq = headSeq;
      it.headTimeMs = Number(entry.headTimeMs ?? told.createdMs ?? 0);
      const isRead = it.readSeq >= headSeq;
      it.unread = isRead ? 0 : Number(entry.unreadCount ?? 0);
      it.mentions = isRead ? 0 : Number(entry.mentionCount ?? 0);
      it.last = lastEvent ? { event: lastEvent, isRecalled: isWithheld(lastEvent) } : it.last;
    }
    return it;
  }

  /** Applies the next event of a conversation. */
  apply(it, event) {
    it.timeline.append(event);
    if (event.kind === 'MESSAGE_RECALLED' && it.last?.event.seq === event.targetSeq) it.last.isRecalled = true;
    if (event.seq <= it.headSeq) return;
    it.headSeq = event.seq;
    it.headTimeMs = event.timeMs;
    if (event.isCountable) this.#count(it, event);
    if (event.kind === 'MESSAGE_RECALLED' && event.targetSeq > it.readSeq) it.unread = Math.max(0, it.unread - 1);
    if (event.kind === 'CONVERSATION_RENAMED') it.title = event.body.title ?? '';
    if (event.kind === 'CONVERSATION_DISBANDED') it.isDisbanded = true;
    const leaver = event.kind === 'MEMBER_LEFT' ? (event.body.userId ?? event.sender) : event.body.userId;
    if (leaver === this.#me && (event.kind === 'MEMBER_LEFT' || event.kind === 'MEMBER_REMOVED')) it.isFormer = true;
  }

  /** The user has read up to a seq, here or on another device. False: the counts are not known without asking. */
  read(it, seq) {
    if (seq <= it.readSeq) return true;
    it.readSeq = seq;
    if (seq < it.headSeq) return false;
    it.unread = 0;
    it.mentions = 0;
    return true;
  }

  #count(it, event) {
    it.last = { event, isRecalled: isWithheld(event) };
    it.settings = { ...it.settings, hidden: false };
    it.typing.delete(event.sender);
    if (event.sender === this.#me) {
      this.read(it, event.seq);
    } else {
      // Who writes has read what is before; there is no signal for that.
      if (event.isFromDevice) it.positions.set(event.sender, event.seq);
      it.unread += 1;
      if (mentionsUser(event, this.#me)) it.mentions += 1;
    }
  }

  #make(id, { isGroup, participants, cursor }) {
    const it = new Conversation(id, { isGroup, participants, cursor, me: this.#me });
    this.#byId.set(id, it);
    return it;
  }
}

export function settingsFromWire({ muteUntilMs = 0, pinned = false, hidden = false }) {
  return { muteUntilMs: Number(muteUntilMs), pinned, hidden };
}
