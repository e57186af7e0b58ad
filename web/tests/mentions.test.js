import assert from 'node:assert/strict';
import { test } from 'node:test';
import { segments, textContent } from '../mentions.js';

test('members are mentioned by their names, in scalar values', () => {
  assert.deepEqual(textContent('👋 @bob and @carol.x.', ['bob', 'carol.x']), {
    text: { text: '👋 @bob and @carol.x.' },
    mentions: [
      { userId: 'bob', offset: 2, length: 4 },
      { userId: 'carol.x', offset: 11, length: 8 },
    ],
  });
});

test('strangers, longer names and mail addresses are no mentions', () => {
  assert.deepEqual(textContent('@eve @bobby me@bob', ['bob']), { text: { text: '@eve @bobby me@bob' } });
});

test('half a character is none: JSON that bears one is refused, and the connection closed, each time that it is sent again', () => {
  const content = textContent('👋'.slice(0, 1) + ' @bob', ['bob']);
  assert.equal(content.text.text, '\ufffd @bob');
  assert.deepEqual(content.mentions, [{ userId: 'bob', offset: 2, length: 4 }]);
});

test('everybody is mentioned by @all', () => {
  assert.deepEqual(textContent('@all: lunch', ['bob']), { text: { text: '@all: lunch' }, mentionAll: true });
});

test('a text is cut at its mentions', () => {
  const { mentions } = textContent('👋 @bob!', ['bob']);
  assert.deepEqual(segments('👋 @bob!', mentions), [{ text: '👋 ' }, { text: '@bob', userId: 'bob' }, { text: '!' }]);
});

test('mentions that lie outside the text or in each other are left out', () => {
  const wrong = [{ userId: 'a', offset: 1, length: 99 }, { userId: 'b', offset: 0, length: 2 }, { userId: 'c', offset: 1, length: 1 }, { userId: 'd' }];
  assert.deepEqual(segments('abc', wrong), [{ text: 'ab', userId: 'b' }, { text: 'c' }]);
});
