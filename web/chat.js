import { Conversations, settingsFromWire } from './conversations.js';
import { eventFromWire, eventOfAck, isWithheld } from './event.js';
import { Groups } from './groups.js';
import { canLoadOlder, loadOlder } from './history.js';
import { Inbox } from './inbox.js';
import { textContent } from './mentions.js';
import { Outbox, sessionStore } from './outbox.js';
import { Receipts } from './receipts.js';
import { Repair } from './repair.js';
import { Sending } from './sending.js';

/** How long an event that one's own ack overtook may take to come by itself. */
const PATIENCE_MS = 1_000;
const MOST_PATIENCE_MS = 30_000;
/** Bytes of a Send beside its content, at most. */
const FRAME_BYTES = 1_024;

/**
 * One signed-in user's chat: joins what comes over the link with what the page holds, and offers what the views do.
 *
 * `on.changed()`: something to show has changed; `on.news(conversation, event)`: another's message came;
 * `on.trouble(message)`: something that the user asked for did not work.
 */
export class Chat {
  #link;
  #on;
  #mint;
  #clock;
  /** How long the inbox may still not know a conversation of which an event came. */
  #patienceMs = PATIENCE_MS;

  constructor({ me, tenant, link, clock, mint, on }) {
    this.me = me;
    this.tenant = tenant;
    this.#link = link;
    this.#clock = clock;
    this.#mint = mint;
    this.#on = on;
    this.limits = {};
    /** The conversation that is looked at, or null. */
    this.open = null;
    /** Whether the inbox is known. */
    this.isLoaded = false;
    const changed = () => on.changed();
    this.conversations = new Conversations(me);
    this.outbox = new Outbox(sessionStore(`flare.outbox.${tenant}.${me}`));
    this.sending = new Sending({
      link,
      clock,
      outbox: this.outbox,
      on: { placed: (item, ack) => this.#placed(item, ack), refused: (item, refusal) => this.#refused(item, refusal), changed },
    });
    this.groups = new Groups({ link, mint });
    this.receipts = new Receipts({ link, conversations: this.conversations, onChange: changed });
    this.repair = new Repair({ link, conversations: this.conversations, onEvents: (it, events) => this.#apply(it, events) });
    this.inbox = new Inbox({ link, onEntry: (entry, last) => this.#merge(entry, last), onDone: () => this.#inboxDone() });
  }

  /** A connection is there. */
  resume({ limits = {} }) {
    this.limits = limits;
    this.inbox.ask();
    this.repair.resume();
    this.receipts.resume();
    this.sending.resume(limits.maxUnackedSends);
    if (this.open) {
      this.#view(this.open, true);
      this.#lookAt(this.open);
    }
  }

  /** The connection is gone. */
  lost() {
    this.sending.lost();
    for (const it of this.conversations.all()) it.typing.clear();
  }

  /** Takes a frame that came unasked. */
  receive(kind, body) {
    if (kind === 'deliver') for (const event of body.events ?? []) this.#take(eventFromWire(event));
    if (kind === 'syncHint') this.#hinted(body);
    if (kind === 'signal') {
      const it = this.conversations.get(body.conversationId);
      if (it && !this.receipts.signalled(it, body.userId, this.me, body)) this.inbox.askSoon();
      this.#on.changed();
    }
  }

  /** Opens a conversation by its id, a direct one by the other user, or none. */
  select({ id, user }) {
    const wanted = user ? (this.conversations.directWith(user) ?? this.conversations.draft(user)) : (this.conversations.get(id) ?? null);
    if (wanted === this.open) return;
    if (this.open) {
      this.receipts.typing(this.open, false);
      this.#view(this.open, false);
    }
    this.open?.timeline.trim();
    this.open = wanted;
    if (this.open) {
      this.open.newFromSeq = this.open.unread > 0 ? this.open.readSeq + 1 : Infinity;
      this.#view(this.open, true);
      this.#lookAt(this.open);
    }
    this.#on.changed();
  }

  async loadOlder(it) {
    if (!canLoadOlder(this.#link, it)) return;
    const loading = loadOlder(this.#link, it);
    this.#on.changed();
    await loading;
    this.#on.changed();
  }

  /** Says something in a conversation; false if it cannot be taken. */
  say(it, text) {
    const content = textContent(text, it.isGroup ? (it.members ?? []).map((member) => member.userId) : it.participants);
    const { maxContentBytes = Infinity, maxFrameBytes = Infinity } = this.limits;
    // A frame that is too large would cost the connection, again and again.
    if (bytes(text) > maxContentBytes || bytes(JSON.stringify(content)) + FRAME_BYTES > maxFrameBytes) {
      return this.#trouble(`This text is too long: ${bytes(text)} bytes, at most ${maxContentBytes}.`);
    }
    const to = it.isDraft ? { userId: it.peer } : { conversationId: it.id };
    return this.#enqueue(it, { to, content });
  }

  recall(it, seq) {
    return this.#enqueue(it, { to: { conversationId: it.id }, recallSeq: seq });
  }

  retry(clientId) {
    this.outbox.retry(clientId, this.#mint());
    this.sending.pump();
    this.#on.changed();
  }

  discard(clientId) {
    this.outbox.discard(clientId);
    this.#on.changed();
  }

  /** Makes a group and returns its id. */
  async createGroup(title, memberIds, historyVisibility) {
    const answer = await this.groups.change('CreateConversation', { title, memberIds, historyVisibility });
    const { conversationId } = answer.conversation;
    this.conversations.merge({ conversation: answer.conversation, role: answer.role, state: 'ACTIVE' }, null);
    this.repair.need(conversationId, PATIENCE_MS);
    return conversationId;
  }

  /** Changes a group; trouble is shown. True if it worked. */
  async change(it, name, fields = {}) {
    try {
      await this.groups.change(name, { conversationId: it.id, ...fields });
      this.repair.need(it.id, PATIENCE_MS);
      return true;
    } catch (refusal) {
      return this.#trouble(refusal.message);
    }
  }

  async updateSettings(it, patch) {
    try {
      it.settings = settingsFromWire(await this.groups.updateSettings(it, patch));
    } catch (refusal) {
      this.#trouble(refusal.message);
    }
    this.#on.changed();
  }

  #enqueue(it, item) {
    const whole = { ...item, clientId: this.#mint(), lane: it.id, timeMs: this.#clock.nowMs() };
    if (!this.outbox.add(whole)) return this.#trouble('Too much waits to be sent.');
    this.sending.pump();
    this.#on.changed();
    return true;
  }

  #placed(item, ack) {
    this.outbox.placed(item.clientId, Number(ack.seq));
    const of = this.conversations.get(item.lane) ?? { isGroup: false, participants: [] };
    this.#take(eventOfAck(item, ack, of, this.me), PATIENCE_MS);
  }

  #refused(item, refusal) {
    if (!item.recallSeq) return;
    this.outbox.discard(item.clientId);
    this.#trouble(`Not recalled: ${refusal.message}`);
  }

  #take(event, patienceMs = 0) {
    const it = this.conversations.ofEvent(event);
    this.#adopt(it);
    this.#apply(it, it.sequence.offer(event.seq, event));
    if (it.sequence.hasGap) this.repair.need(it.id, patienceMs);
    if (!it.isKnown) this.inbox.askSoon();
  }

  #apply(it, events) {
    for (const event of events) {
      if (event.sender === this.me && event.clientId) this.outbox.arrived(event.clientId);
      this.conversations.apply(it, event);
      if (event.changesMembers || event.kind === 'CONVERSATION_RENAMED') this.#membersChanged(it);
      if (event.isCountable && event.sender !== this.me && !isWithheld(event)) this.#on.news(it, event);
    }
    this.outbox.reached(it.id, it.sequence.cursor);
    if (events.length > 0) this.receipts.received(it);
    this.#on.changed();
  }

  #membersChanged(it) {
    this.inbox.askSoon();
    if (it === this.open) this.#loadMembers(it);
    else it.members = null;
  }

  #merge(entry, last) {
    const it = this.conversations.merge(entry, last);
    this.#adopt(it);
    if (it.sequence.cursor < it.headSeq) this.repair.need(it.id);
  }

  #inboxDone() {
    this.isLoaded = true;
    if (this.conversations.all().some((it) => !it.isKnown && !it.isDraft)) {
      this.inbox.askSoon(this.#patienceMs);
      this.#patienceMs = Math.min(MOST_PATIENCE_MS, this.#patienceMs * 2);
    } else {
      this.#patienceMs = PATIENCE_MS;
    }
    this.#on.changed();
  }

  /** A direct conversation has its id: what was a draft goes on in it. */
  #adopt(it) {
    const draft = it.isGroup ? undefined : this.conversations.get(`user:${it.peer}`);
    if (!draft) return;
    this.outbox.rename(draft.id, it.id);
    this.conversations.dropDraft(draft.id);
    if (this.open === draft) this.select({ id: it.id });
  }

  /** A hint at a head that is known already asks for nothing. */
  #hinted({ conversationIds = [], headSeqs = [] }) {
    conversationIds.forEach((id, at) => {
      const headSeq = Number(headSeqs[at] ?? 0);
      const has = this.conversations.get(id)?.sequence.cursor ?? 0;
      if (headSeq === 0 || headSeq > has) this.repair.need(id);
    });
    this.inbox.ask();
  }

  /** Of a large conversation events come one by one while it is looked at. */
  #view(it, isActive) {
    if (!it.isGroup || it.isFormer) return;
    this.#link.tell('signal', { conversationId: it.id, viewing: { active: isActive } });
    if (isActive) this.repair.need(it.id);
  }

  /** Loads what an open conversation shows. */
  #lookAt(it) {
    if (it.timeline.rows.length < 30) this.loadOlder(it);
    if (!this.#link.isOpen) return;
    this.receipts.loadPositions(it).catch(() => {});
    if (it.isGroup) this.#loadMembers(it);
  }

  async #loadMembers(it) {
    if (it.isFormer) return;
    try {
      it.members = await this.groups.members(it);
    } catch {
      it.members ??= [];
    }
    this.#on.changed();
  }

  #trouble(message) {
    this.#on.trouble(message);
    return false;
  }
}

function bytes(text) {
  return new TextEncoder().encode(text).length;
}
