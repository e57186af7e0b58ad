import assert from 'node:assert/strict';
import { until } from '../until.js';

export function keyboard(scene) {
  scene('by keyboard alone: write, read, answer, recall', async ({ come }) => {
    const [alice, bob] = [await come('alice'), await come('bob')];
    await tabTo(alice, 'New message');
    await press(alice, 'Enter');
    await type(alice, 'bob');
    await press(alice, 'Enter');
    await alice.heading('bob');
    await until('the cursor is where one writes', async () => (await focused(alice)) === 'Message');
    await type(alice, 'Look');
    await press(alice, 'Shift+Enter');
    await type(alice, 'no hands');
    await press(alice, 'Enter');
    await alice.sees(['alice: Look\nno hands']);

    await bob.hasUnread('alice', '1');
    await tabTo(bob, /alice.*1 unread/s);
    await press(bob, 'Enter');
    await bob.sees(['alice: Look\nno hands']);
    await type(bob, 'I see');
    await press(bob, 'Enter');
    await alice.sees(['alice: Look\nno hands', 'bob: I see']);

    await tabTo(alice, 'Recall', 'Shift+Tab');
    await until('what has the focus is seen', () =>
      alice.page.evaluate(() => getComputedStyle(document.activeElement.parentElement).opacity === '1'),
    );
    await press(alice, 'Enter');
    await bob.sees(['alice: This message was recalled', 'bob: I see']);
  });

  scene('Escape closes what Enter has opened, and the focus is where it was', async ({ come }) => {
    const alice = await come('alice');
    await tabTo(alice, 'New group');
    await press(alice, 'Enter');
    await alice.page.getByRole('dialog').waitFor();
    await press(alice, 'Escape');
    await alice.page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.equal(await focused(alice), 'New group');

    await until('the group is listed', () => alice.listed('Welcome'));
    await tabTo(alice, /Welcome/);
    await press(alice, 'Enter');
    await alice.heading('Welcome');
    await tabTo(alice, 'Details', 'Shift+Tab');
    await press(alice, 'Enter');
    await alice.page.getByRole('complementary', { name: 'Details' }).waitFor();
    assert.equal(await focused(alice), 'Close the details');
    await press(alice, 'Escape');
    await alice.page.getByRole('complementary', { name: 'Details' }).waitFor({ state: 'hidden' });
    assert.equal(await focused(alice), 'Details');
  });
}

const MOST_STOPS = 30;

/** Goes from stop to stop until the focus is on what bears the name. */
async function tabTo(person, name, key = 'Tab') {
  const passed = [];
  for (let stop = 0; stop < MOST_STOPS; stop += 1) {
    await press(person, key);
    const at = await focused(person);
    if (name instanceof RegExp ? name.test(at) : at === name) return;
    passed.push(at);
  }
  assert.fail(`${key} does not lead to ${name}, but over ${JSON.stringify(passed)}`);
}

function focused({ page }) {
  return page.evaluate(() => document.activeElement.ariaLabel ?? document.activeElement.textContent.trim());
}

function press({ page }, key) {
  return page.keyboard.press(key);
}

function type({ page }, text) {
  return page.keyboard.type(text);
}
