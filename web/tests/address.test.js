import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isNamed, named, ofConversation, ofUser, settled } from '../address.js';

const group = { id: 'welcome', peer: '', isDraft: false };
const direct = { id: '1-alice-bob', peer: 'bob', isDraft: false };
const draft = { ...direct, isDraft: true };

test('an address names a conversation or a user', () => {
  assert.deepEqual(named(ofConversation('a&b#c')), { id: 'a&b#c', user: null });
  assert.deepEqual(named(ofUser('bob+1@x')), { id: null, user: 'bob+1@x' });
  assert.deepEqual(named(''), { id: null, user: null });
});

test('what is open is what is named, or not', () => {
  assert.equal(isNamed(named('#c=welcome'), group), true);
  assert.equal(isNamed(named('#c=welcome'), direct), false);
  assert.equal(isNamed(named('#u=bob'), draft), true);
  assert.equal(isNamed(named('#u=bob'), group), false);
  assert.equal(isNamed(named(''), group), false);
  assert.equal(isNamed(named('#c=welcome'), null), false);
});

test('the address of a user becomes that of the conversation when there is one', () => {
  assert.equal(settled('#u=bob', direct), '#c=1-alice-bob');
  assert.equal(settled('#u=bob', draft), null);
  assert.equal(settled('#c=1-alice-bob', direct), null);
  assert.equal(settled('#u=bob', null), null);
});

test('the address of a user stays while another conversation is still open', () => {
  assert.equal(settled('#u=bob', group), null);
  assert.equal(settled('#u=bob', { ...direct, peer: 'carol' }), null);
});
