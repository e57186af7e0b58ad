import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Conversations } from '../conversations.js';
import { eventFromWire } from '../event.js';

const entry = (fields = {}, conversation = {}) => ({
  conversation: { conversationId: 'team', class: 'GROUP', title: 'Team', ...conversation },
  headSeq: '5',
  headTimeMs: '5000',
  readSeq: '2',
  unreadCount: '3',
  mentionCount: '1',
  role: 'MEMBER',
  state: 'ACTIVE',
  ...fields,
});

const message = (seq, senderId = 'bob', fields = {}) =>
  eventFromWire({
    header: { conversationId: 'team', seq: String(seq), senderId, timeMs: String(seq * 1_000), kind: 'MESSAGE_CREATED', flags: 1, class: 'GROUP', ...fields },
    body: { messageCreated: { content: { text: { text: `message ${seq}` } } } },
  });

function withTeam() {
  const conversations = new Conversations('alice');
  return [conversations, conversations.merge(entry(), null)];
}

test('the inbox gives the counts, later messages raise them', () => {
  const [conversations, team] = withTeam();
  conversations.apply(team, message(6));
  conversations.apply(team, message(7, 'bob', { mentions: ['alice'] }));
  assert.deepEqual([team.unread, team.mentions, team.headSeq, team.last.event.seq], [5, 2, 7, 7]);
});

test('a conversation of which only one\'s own ack is known gets its name from the inbox', () => {
  const conversations = new Conversations('alice');
  const ofAck = { isGroup: false, participants: [] };
  const [direct, group] = ['d_1', 'team'].map((conversationId) => conversations.ofEvent({ conversationId, seq: 5, ...ofAck }));
  assert.deepEqual(conversations.list(false), []);
  conversations.merge(entry({}, { conversationId: 'd_1', class: 'DIRECT', participants: ['alice', 'bob'] }), null);
  conversations.merge(entry(), null);
  assert.deepEqual([direct.name, group.name, group.isGroup], ['bob', 'Team', true]);
  assert.deepEqual([conversations.get('d_1'), conversations.directWith('bob')], [direct, direct]);
});

test('a synced message that the inbox has counted is not counted again', () => {
  const [conversations, team] = withTeam();
  conversations.apply(team, message(5));
  assert.equal(team.unread, 3);
});

test('an inbox answer that is older than the applied events does not turn counts back', () => {
  const [conversations, team] = withTeam();
  conversations.apply(team, message(6));
  conversations.merge(entry(), null);
  assert.deepEqual([team.unread, team.headSeq], [4, 6]);
});

test('writing reads what is before', () => {
  const [conversations, team] = withTeam();
  conversations.apply(team, message(6, 'alice'));
  assert.deepEqual([team.unread, team.mentions, team.readSeq], [0, 0, 6]);
});

test('who writes on a device has read what is before', () => {
  const [conversations, team] = withTeam();
  conversations.apply(team, message(6, 'bob', { senderDeviceId: 'phone' }));
  conversations.apply(team, message(7, 'carol'));
  assert.deepEqual([...team.positions], [['bob', 6]]);
});

test('reading to the head on another device clears the counts, reading to the middle needs the inbox', () => {
  const [conversations, team] = withTeam();
  assert.equal(conversations.read(team, 4), false);
  assert.equal(team.unread, 3);
  assert.equal(conversations.read(team, 5), true);
  assert.equal(team.unread, 0);
  conversations.read(team, 3);
  assert.equal(team.readSeq, 5);
});

test('a recalled unread message does not count', () => {
  const [conversations, team] = withTeam();
  conversations.apply(team, message(6, 'bob'));
  conversations.apply(team, message(7, 'bob', { kind: 'MESSAGE_RECALLED', flags: 0, targetSeq: '6' }));
  assert.deepEqual([team.unread, team.last.isRecalled], [3, true]);
});

test('hidden ones come back with the next message', () => {
  const [conversations, team] = withTeam();
  conversations.merge(entry({ settings: { hidden: true } }), null);
  assert.deepEqual(conversations.list(false), []);
  conversations.apply(team, message(6));
  assert.deepEqual(conversations.list(false), [team]);
});

test('pinned ones come first, then the newest', () => {
  const conversations = new Conversations('alice');
  conversations.merge(entry({ headTimeMs: '1' }, { conversationId: 'old' }), null);
  conversations.merge(entry({ headTimeMs: '3' }, { conversationId: 'new' }), null);
  conversations.merge(entry({ headTimeMs: '2', settings: { pinned: true } }, { conversationId: 'pinned' }), null);
  assert.deepEqual(conversations.list(false).map((it) => it.id), ['pinned', 'new', 'old']);
});

test('who is removed cannot write', () => {
  const [conversations, team] = withTeam();
  const removed = eventFromWire({
    header: { conversationId: 'team', seq: '6', senderId: 'bob', kind: 'MEMBER_REMOVED', flags: 2 },
    body: { memberRemoved: { userId: 'alice' } },
  });
  conversations.apply(team, removed);
  assert.equal(team.canWrite, false);
});

test('a direct conversation is known by the other user, a draft until it has an id', () => {
  const conversations = new Conversations('alice');
  assert.equal(conversations.draft('bob').isDraft, true);
  assert.deepEqual(conversations.list(true), []);
  const event = { ...message(1), conversationId: 'd_x', isGroup: false, participants: ['alice', 'bob'] };
  const direct = conversations.ofEvent(event);
  assert.deepEqual([direct.name, direct.sequence.cursor], ['bob', 0]);
});
