import assert from 'node:assert/strict';
import { becomes, until } from '../until.js';

const EACH = 15;
/** The server dies when so many of Alice's are sent. */
const KILLED_AFTER = 5;

export function restart(scene) {
  scene('a server is killed under two who write: nothing is lost, nothing doubled', async ({ come, server, whileAway }) => {
    const [alice, bob] = [await come('alice'), await come('bob')];
    await alice.writeTo('bob');
    await alice.say('Hello Bob');
    await bob.open('alice');
    await bob.say('Hello Alice, 你好 👋');
    await alice.sees(['alice: Hello Bob', 'bob: Hello Alice, 你好 👋']);
    for (const { page } of [alice, bob]) await page.evaluate(() => (window.isTheSamePage = true));

    await whileAway(async () => {
      const texts = Array.from({ length: EACH }, (_, at) => `${at + 1} of ${EACH}`);
      await Promise.all([
        bob.say(...texts),
        (async () => {
          await alice.say(...texts.slice(0, KILLED_AFTER));
          await Promise.all([server.kill(), alice.say(...texts.slice(KILLED_AFTER))]);
        })(),
      ]);
      await alice.draft.pressSequentially('Half a sent');
      for (const person of [alice, bob]) await until(`${person.name} is told`, async () => (await person.status()).startsWith('No connection.'));
      await becomes('what is not sent is shown', async () => (await alice.rows()).at(-1).state, 'Waiting…');
      await server.start();
      for (const person of [alice, bob]) await becomes(`${person.name} is back`, () => person.status(), '', 30_000);
    });

    const count = 2 + 2 * EACH;
    for (const person of [alice, bob]) {
      await until(`${person.name} has all`, async () => {
        const rows = (await person.rows()).filter((row) => row.who);
        return rows.length === count && rows.every((row) => !row.state.endsWith('…'));
      });
    }
    const seen = await alice.messages();
    await bob.sees(seen);
    await isStored(server, bob, seen);
    for (const { name } of [alice, bob]) {
      const own = seen.filter((message) => message.startsWith(`${name}: `) && message.endsWith(` of ${EACH}`));
      assert.deepEqual(own, Array.from({ length: EACH }, (_, at) => `${name}: ${at + 1} of ${EACH}`));
    }
    assert.equal(await alice.draft.inputValue(), 'Half a sent');
    for (const { page } of [alice, bob]) assert.equal(await page.evaluate(() => window.isTheSamePage), true, 'nobody reloaded');

    await alice.draft.pressSequentially('ence.');
    await alice.draft.press('Enter');
    await bob.sees([...seen, 'alice: Half a sentence.']);
  });

  scene('what was written while the server was away outlives the page', async ({ come, server, whileAway, shoot }) => {
    const [alice, bob] = [await come('alice'), await come('bob')];
    await alice.writeTo('bob');
    await alice.say('Shall we meet at eight?');
    await bob.open('alice');
    await bob.say('Gladly! Where?');
    const before = ['alice: Shall we meet at eight?', 'bob: Gladly! Where?'];
    await alice.sees(before);
    await bob.open('Welcome');
    await whileAway(async () => {
      await server.kill();
      await until('alice is told', async () => (await alice.status()).startsWith('No connection.'));
      await alice.say('At the harbour', 'I have the tickets 🎟️');
      await becomes('what waits is shown', async () => (await alice.rows()).at(-1).state, 'Waiting…');
      await until('the next attempt is not at once', async () => /again in [2-9] s/.test(await alice.status()));
      await shoot('reconnecting', alice);
      // Nobody answers the reload: the page is gone, and the tab keeps what it wrote.
      await alice.page.reload().catch(() => {});
      await server.start();
      await alice.page.goto(server.page);
      await becomes('bob is back', () => bob.status(), '', 30_000);
    });
    await bob.hasUnread('alice', '2');
    const all = [...before, 'alice: At the harbour', 'alice: I have the tickets 🎟️'];
    for (const [person, peer] of [[bob, 'alice'], [alice, 'bob']]) {
      await person.open(peer);
      await person.sees(all);
    }
  });
}

/** The store tells the same story as the pages. */
async function isStored(server, { page }, seen) {
  const id = new URLSearchParams(new URL(page.url()).hash.slice(1)).get('c');
  const { messages } = await server.ask(await server.token('bob'), `api/v1/conversations/${id}/messages?after_seq=0&page_size=200`);
  const stored = messages.map(({ event }) => `${event.header.senderId}: ${event.body.messageCreated.content.text.text}`);
  assert.deepEqual(stored, seen);
}
