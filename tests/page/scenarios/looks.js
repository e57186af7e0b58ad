import assert from 'node:assert/strict';
import { isAccessible } from '../accessibility.js';
import { SCALE } from '../pictures.js';

const SHARP = { deviceScaleFactor: SCALE };
const NARROW = { viewport: { width: 460, height: 560 }, ...SHARP };
const WIDE = { viewport: { width: 1_060, height: 560 } };

export function looks(scene) {
  scene('in light colours everything can be read and reached', async ({ come, shoot, axe }) => {
    const { alice, bob, carol } = await talk(come, { alice: NARROW, bob: NARROW });
    await shoot('two-tabs', alice, bob);
    for (const person of [alice, bob]) await isAccessible(person, axe, 'a conversation of two');
    await inEveryCorner(carol, axe);
  });

  scene('in dark colours everything can be read and reached', async ({ come, shoot, axe }) => {
    const dark = { colorScheme: 'dark' };
    const { alice, bob } = await talk(come, { alice: { ...dark, ...WIDE }, bob: dark, carol: dark });
    await isAccessible(bob, axe, 'a conversation of two');
    await inEveryCorner(alice, axe);
    await shoot('dark', alice);
  });

  scene('on a phone the list and a conversation take turns', async ({ come, shoot, axe }) => {
    const { bob } = await talk(come, { bob: { phone: true, ...SHARP } });
    const { page } = bob;
    await isAccessible(bob, axe, 'the conversation on a phone');
    const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.equal(excess, 0, 'nothing is scrolled sideways');
    assert.equal(await page.getByRole('navigation', { name: 'Conversations' }).isVisible(), false);
    await shoot('phone', bob);
    await page.getByRole('link', { name: 'Back to the conversations' }).tap();
    await page.getByRole('navigation', { name: 'Conversations' }).waitFor();
    await isAccessible(bob, axe, 'the list on a phone');
    await bob.entry('Welcome').locator('a').tap();
    await bob.heading('Welcome');
    await (await bob.details()).waitFor();
    await isAccessible(bob, axe, 'the details on a phone');
    await page.getByRole('button', { name: 'Close the details' }).tap();
    await page.goBack();
    await page.getByRole('navigation', { name: 'Conversations' }).waitFor();
  });
}

/** A group, its details, and a dialog. */
async function inEveryCorner(person, axe) {
  await person.open('Welcome');
  await isAccessible(person, axe, 'the group');
  await (await person.details()).waitFor();
  await isAccessible(person, axe, 'the details');
  await person.page.getByRole('button', { name: 'New group' }).click();
  await isAccessible(person, axe, 'a dialog');
  await person.confirm('Cancel');
}

/** A few lines between three people, as anybody might write them. */
async function talk(come, { alice: ofAlice = {}, bob: ofBob = {}, carol: ofCarol = {} }) {
  const [alice, bob, carol] = [await come('alice', ofAlice), await come('bob', ofBob), await come('carol', ofCarol)];
  await carol.open('Welcome');
  await carol.say('Hello everybody 👋', 'Who comes to the harbour tonight?');
  await alice.open('Welcome');
  const inGroup = ['carol: Hello everybody 👋', 'carol: Who comes to the harbour tonight?'];
  await alice.sees(inGroup);
  await alice.say('I do! @bob, you too?');
  await carol.sees([...inGroup, 'alice: I do! @bob, you too?']);
  await alice.goToList();
  await alice.writeTo('bob');
  await alice.say('Are you coming tonight?');
  await bob.open('alice');
  await bob.say('Yes, at eight. Shall I bring something?');
  const all = ['alice: Are you coming tonight?', 'bob: Yes, at eight. Shall I bring something?'];
  await alice.sees(all);
  await alice.say('Only yourself 🙂');
  await bob.sees([...all, 'alice: Only yourself 🙂']);
  await bob.say('今晚见！', 'And Dana sends her regards: مرحبا بالجميع');
  all.push('alice: Only yourself 🙂', 'bob: 今晚见！', 'bob: And Dana sends her regards: مرحبا بالجميع');
  for (const person of [alice, bob]) await person.sees(all);
  await bob.isTold('And Dana sends her regards: مرحبا بالجميع', 'Read');
  await carol.say('I keep a seat for each of you');
  await alice.hasUnread('Welcome', '1');
  return { alice, bob, carol };
}
