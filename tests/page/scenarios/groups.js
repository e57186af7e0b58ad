import { becomes, until } from '../until.js';

export function groups(scene) {
  scene('a group is made, gets a member, and loses one', async ({ come }) => {
    const [alice, bob, carol] = [await come('alice'), await come('bob'), await come('carol')];
    await alice.page.getByRole('button', { name: 'New group' }).click();
    await alice.page.getByRole('textbox', { name: 'Name' }).fill('Trip to Zürich');
    await alice.page.getByRole('textbox', { name: 'Members' }).fill('bob');
    await alice.confirm('Create');
    await alice.heading('Trip to Zürich');
    await alice.say('Who has the tickets?');
    await bob.open('Trip to Zürich');
    await bob.sees(['alice: Who has the tickets?']);

    const panel = await alice.details();
    await memberList(panel, ['alice (you)Owner', 'bobMember']);
    await panel.getByRole('button', { name: 'Add members' }).click();
    await alice.page.getByLabel('User ids').fill('carol');
    await alice.confirm('Add');
    await memberList(panel, ['alice (you)Owner', 'bobMember', 'carolMember']);
    await carol.open('Trip to Zürich');
    await carol.sees(['alice: Who has the tickets?']);
    await carol.say('I have');
    await bob.seesNotice('Alice added carol');
    await bob.sees(['alice: Who has the tickets?', 'carol: I have']);

    await panel.getByRole('group', { name: 'carol' }).getByRole('button', { name: 'Remove' }).click();
    await alice.confirm('Remove');
    await memberList(panel, ['alice (you)Owner', 'bobMember']);
    await carol.page.getByText('You are not a member of this group any more.').waitFor();
    await alice.say('Now we are two');
    const all = ['alice: Who has the tickets?', 'carol: I have', 'alice: Now we are two'];
    await bob.sees(all);
    await bob.seesNotice('Alice removed carol');
    await carol.sees(all.slice(0, 2));

    await panel.getByRole('button', { name: 'Rename' }).click();
    await alice.page.getByRole('textbox', { name: 'Name' }).fill('Trip to Geneva');
    await alice.confirm('Rename');
    await bob.heading('Trip to Geneva');
    await alice.heading('Trip to Geneva');
  });

  scene('mentions stand out, reading is counted, and a recall reaches everybody', async ({ come }) => {
    const [alice, bob, carol] = [await come('alice'), await come('bob'), await come('carol')];
    await alice.open('Welcome');
    await alice.say('@bob, have a look');
    await bob.hasUnread('Welcome', '1');
    await becomes('bob is called', async () => (await bob.listed('Welcome')).isMentioned, true);
    await carol.hasUnread('Welcome', '1');
    await becomes('carol is not', async () => (await carol.listed('Welcome')).isMentioned, false);
    await bob.open('Welcome');
    await bob.page.locator('.mention.me', { hasText: '@bob' }).waitFor();
    await alice.isTold('@bob, have a look', 'Read by 1');
    await carol.open('Welcome');
    await alice.isTold('@bob, have a look', 'Read by 2');

    await alice.say('Oh, a mistake');
    for (const person of [bob, carol]) await person.sees(['alice: @bob, have a look', 'alice: Oh, a mistake']);
    const row = alice.page.locator('#message-list > li', { hasText: 'Oh, a mistake' });
    await row.hover();
    await row.getByRole('button', { name: 'Recall' }).click();
    for (const person of [alice, bob, carol]) {
      await person.sees(['alice: @bob, have a look', 'alice: This message was recalled']);
      await until('the list says so', async () => (await person.listed('Welcome')).line.endsWith('message recalled'));
    }

    await alice.say('@all dinner at eight');
    await carol.sees(['alice: @bob, have a look', 'alice: This message was recalled', 'alice: @all dinner at eight']);
  });
}

function memberList(panel, expected) {
  const look = () =>
    panel.locator('.member').evaluateAll((rows) =>
      rows.map((row) => row.querySelector('.name').textContent + row.querySelector('.role').textContent),
    );
  return becomes('the members', look, expected);
}
