import { isAccessible } from '../accessibility.js';
import { becomes, until } from '../until.js';

const NO_LEEWAY = ['identity.leeway_s=0', 'access_gateway.token_grace_ms=0'];

export function signIn(scene) {
  scene('without a token the page says how to get one, and takes it', async ({ come, server, shoot, axe }) => {
    const carol = await come('carol', { token: '' });
    const { page } = carol;
    await page.getByRole('heading', { name: 'Sign in to Flare' }).waitFor();
    await page.getByText(server.tokenSource).waitFor();
    await isAccessible(carol, axe, 'sign-in');
    await shoot('sign-in', carol);
    await page.getByLabel('Token').fill(`  ${await server.token('carol')}\n`);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'carol', exact: true }).waitFor();
    await page.getByRole('button', { name: 'Sign out of this tab' }).click();
    await page.getByRole('heading', { name: 'Sign in to Flare' }).waitFor();
  });

  scene('a token that is none, and one that has expired, lead back to the sign-in', async ({ come, server }) => {
    const early = await server.token('alice', 1);
    const { exp } = JSON.parse(Buffer.from(early.split('.')[1], 'base64url'));
    await until('the token expires', () => Date.now() > exp * 1_000);
    for (const token of ['gibberish', early]) {
      const { page } = await come('alice', { token });
      await page.getByRole('alert').filter({ hasText: 'You are signed out:' }).waitFor();
      await page.getByRole('heading', { name: 'Sign in to Flare' }).waitFor();
      await page.reload();
      await page.getByRole('heading', { name: 'Sign in to Flare' }).waitFor();
    }
  }, NO_LEEWAY);

  scene('a sign-in is renewed before it ends, and ends where it is not', async ({ come, server }) => {
    const [careful, careless] = [await come('alice', { token: await server.token('alice', 10) }), await come('bob', { token: await server.token('bob', 10) })];
    for (const person of [careful, careless]) await until('the end is near', async () => (await person.status()).startsWith('Your sign-in ends at'));
    await careful.page.getByRole('button', { name: 'Renew' }).click();
    await careful.page.getByLabel('New token').fill(await server.token('alice'));
    await careful.confirm('Renew');
    await becomes('the end is far', () => careful.status(), '');
    await careless.page.getByRole('alert').filter({ hasText: 'You are signed out:' }).waitFor();
    await careful.open('Welcome');
    await careful.say('Still here');
    await careful.isTold('Still here', 'Sent');
  }, NO_LEEWAY);

  scene('the token leaves the address bar, and outlives a reload', async ({ come }) => {
    const { page } = await come('alice');
    await until('the address is clean', () => !page.url().includes('token'));
    await page.reload();
    await page.getByRole('heading', { name: 'alice', exact: true }).waitFor();
  });
}
