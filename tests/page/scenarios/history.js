import assert from 'node:assert/strict';
import { until } from '../until.js';

const MANY = 250;
const numbered = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => `alice: message ${from + at}`);

export function history(scene) {
  scene('scrolling up shows a long history, each message once and none missing', async ({ come, server }) => {
    const token = await server.token('alice');
    const send = async (from, to) => {
      for (let at = from; at <= to; at += 1) {
        await server.ask(token, 'api/v1/messages', { userId: 'bob', clientId: `message-${at}`, content: { text: { text: `message ${at}` } } });
      }
    };
    await send(1, MANY);
    const bob = await come('bob');
    await bob.hasUnread('alice', '99+');
    await bob.open('alice');
    await until('the end is there', async () => (await bob.messages()).at(-1) === `alice: message ${MANY}`);

    await keepsItsPlace(bob);
    await scrollToBeginning(bob);
    await bob.sees(numbered(1, MANY));

    // What comes meanwhile waits below.
    await send(MANY + 1, MANY + 3);
    await bob.page.getByRole('button', { name: '↓ 3 new' }).click();
    await bob.sees(numbered(1, MANY + 3));
    await bob.hasUnread('alice', '');

    // What is far up is let go of, and found again.
    await bob.open('Welcome');
    await bob.open('alice');
    await until('it is let go of', async () => (await bob.messages()).length < MANY);
    await scrollToBeginning(bob);
    await bob.sees(numbered(1, MANY + 3));
  });
}

/** What is read stays where it is when older messages come above it. */
async function keepsItsPlace({ page }) {
  const before = await page.evaluate(() => {
    document.getElementById('messages').scrollTop = 0;
    const [first, ...others] = document.querySelectorAll('#message-list .bubble');
    return { text: first.querySelector('.body').textContent, top: first.getBoundingClientRect().top, count: others.length + 1 };
  });
  const bubbles = page.locator('#message-list .bubble');
  await until('older ones come', async () => (await bubbles.count()) > before.count);
  const { y } = await bubbles.filter({ has: page.getByText(before.text, { exact: true }) }).boundingBox();
  assert.ok(Math.abs(y - before.top) < 2, `the message at ${before.top} went to ${y}`);
}

async function scrollToBeginning({ page }) {
  await page.locator('#messages').hover();
  await until('the beginning is there', async () => {
    await page.mouse.wheel(0, -1_500);
    return (await page.locator('#older').textContent()) === 'This is the beginning';
  });
}
