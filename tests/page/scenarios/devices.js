import { becomes } from '../until.js';

export function devices(scene) {
  scene('two devices of one user show the same', async ({ come }) => {
    const bob = await come('bob');
    const [desk, phone] = [await come('alice'), await come('alice', { phone: true })];
    await bob.writeTo('alice');
    await bob.say('Are you there?');
    await desk.hasUnread('bob', '1');
    await phone.hasUnread('bob', '1');
    await desk.open('bob');
    await phone.hasUnread('bob', '');
    await phone.open('bob');
    await phone.say('From the phone');
    await desk.sees(['bob: Are you there?', 'alice: From the phone']);
    await desk.say('From the desk');
    const all = ['bob: Are you there?', 'alice: From the phone', 'alice: From the desk'];
    for (const person of [desk, phone, bob]) {
      if (person === bob) await bob.heading('alice');
      await person.sees(all);
    }
    await desk.isTold('From the phone', 'Read');
  });

  scene('a copy of a tab takes its place, until it becomes a device of its own', async ({ come, server }) => {
    const first = await come('alice');
    const device = await first.page.evaluate(() => sessionStorage.getItem('flare.device'));
    const copy = await come('alice', { token: '' });
    await copy.page.evaluate((id) => sessionStorage.setItem('flare.device', id), device);
    await copy.page.goto(await server.link('alice'));
    await copy.page.getByRole('heading', { name: 'alice', exact: true }).waitFor();
    await becomes('the first says so', () => first.status(), 'This device is connected elsewhere, perhaps in a copy of this tab.');
    await first.page.getByRole('button', { name: 'Use this tab too' }).click();
    await becomes('the first is back', () => first.status(), '');
    await becomes('the copy stays', () => copy.status(), '');
  });
}
