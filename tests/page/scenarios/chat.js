import assert from 'node:assert/strict';
import { until } from '../until.js';

/** What users write. */
const TEXTS = {
  chinese: '你好，世界！今晚八点见面吗？',
  emoji: '👩‍👩‍👧‍👦 🇨🇭 👍🏽 🫠',
  arabic: 'مرحبا، كيف حالك؟ (1, 2, 3)',
  hebrew: 'שלום abc 123!',
  lines: 'first\n  second, indented\n\nfourth',
  markup: '<img src=x onerror="alert(1)"> &amp; <b>not bold</b> ${1 + 1}',
  word: 'unbroken'.repeat(100),
  long: 'A long story, sentence by sentence. '.repeat(300).trim(),
};

/** How much both write at once. */
const EACH = 15;
const COUNT = 1 + 2 * EACH;

export function chat(scene) {
  scene('unread counts rise with each message, and clear by reading', async ({ come }) => {
    const [alice, bob] = [await come('alice'), await come('bob')];
    await alice.writeTo('bob');
    await alice.say('One');
    await bob.hasUnread('alice', '1');
    await alice.say('Two', 'Three');
    await bob.hasUnread('alice', '3');
    await until('the tab counts too', async () => (await bob.page.title()) === '(3) Flare');
    await alice.isTold('Three', 'Sent');
    await bob.open('alice');
    await bob.hasUnread('alice', '');
    await bob.seesNotice('New messages');
    await until('the tab is calm', async () => (await bob.page.title()) === 'Flare');
    await alice.isTold('Three', 'Read');
    await bob.page.reload();
    await bob.hasUnread('alice', '');
  });

  scene('messages of every kind go both ways, in one order', async ({ come }) => {
    const [alice, bob] = [await come('alice'), await come('bob')];
    await alice.writeTo('bob');
    await alice.say('Hi');
    await bob.open('alice');
    const said = ['alice: Hi'];
    for (const text of Object.values(TEXTS)) {
      const [from, to] = said.length % 2 === 0 ? [alice, bob] : [bob, alice];
      await from.say(text);
      said.push(`${from.name}: ${text}`);
      await to.sees(said);
      await from.sees(said);
    }
    for (const { page, name } of [alice, bob]) {
      const excess = await page.locator('#messages').evaluate((pane) => pane.scrollWidth - pane.clientWidth);
      assert.equal(excess, 0, `${name}'s messages are wider than their pane`);
      assert.equal(await page.locator('#message-list img, #message-list b').count(), 0, 'what users write is text');
      const rightToLeft = page.locator('.body', { hasText: TEXTS.arabic });
      assert.equal(await rightToLeft.evaluate((body) => getComputedStyle(body).direction), 'rtl');
    }
  });

  scene('both write at once, and see the same order', async ({ come }) => {
    const [alice, bob] = [await come('alice'), await come('bob')];
    await alice.writeTo('bob');
    await alice.say('Go');
    await bob.open('alice');
    await bob.sees(['alice: Go']);
    for (const { page } of [alice, bob]) await page.evaluate(watchForVanished);
    const texts = Array.from({ length: EACH }, (_, at) => `number ${at + 1}`);
    await Promise.all([alice.say(...texts), bob.say(...texts)]);
    await until('all is there', async () => (await alice.messages()).length === COUNT && (await bob.messages()).length === COUNT);
    const seen = await alice.messages();
    await bob.sees(seen);
    for (const { page, name } of [alice, bob]) {
      assert.deepEqual(await page.evaluate(() => window.vanished), [], `what ${name} sees never goes away again`);
      assert.deepEqual(
        seen.filter((message) => message.startsWith(`${name}: number`)),
        texts.map((text) => `${name}: ${text}`),
      );
    }
  });

  scene('who types is seen typing, until the message is there', async ({ come }) => {
    const [alice, bob] = [await come('alice'), await come('bob')];
    await alice.writeTo('bob');
    await alice.say('Hi');
    await bob.open('alice');
    await bob.draft.pressSequentially('Hm');
    await alice.page.locator('#thread-about', { hasText: 'bob is typing…' }).waitFor();
    await bob.draft.press('Enter');
    await alice.sees(['alice: Hi', 'bob: Hm']);
    await alice.page.locator('#thread-about', { hasText: 'Direct conversation' }).waitFor();
  });
}

/** Notes, in the page, each message that was there after one change of the list and not after the next. */
function watchForVanished() {
  const list = document.getElementById('message-list');
  const look = () => [...list.querySelectorAll('.bubble')].map((bubble) => bubble.firstElementChild.textContent + bubble.querySelector('p').textContent);
  let before = look();
  window.vanished = [];
  new MutationObserver(() => {
    const now = look();
    window.vanished.push(...before.filter((message) => !now.includes(message)));
    before = now;
  }).observe(list, { childList: true });
}
