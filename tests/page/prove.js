import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { after, describe } from 'node:test';
import { parseArgs } from 'node:util';
import { browserAt } from './browser.js';
import { Cluster } from './cluster.js';
import { chat } from './scenarios/chat.js';
import { devices } from './scenarios/devices.js';
import { groups } from './scenarios/groups.js';
import { history } from './scenarios/history.js';
import { keyboard } from './scenarios/keyboard.js';
import { looks } from './scenarios/looks.js';
import { restart } from './scenarios/restart.js';
import { signIn } from './scenarios/sign-in.js';
import { Server } from './server.js';
import { stage } from './stage.js';

/** Scenes that play at once. They wait more than they work. */
const AT_ONCE = 2;

const { values } = parseArgs({
  options: {
    deployment: { type: 'string', default: 'embedded' },
    flare: { type: 'string', default: 'target/debug/flare' },
    browser: { type: 'string', default: '/usr/bin/chromium' },
    tools: { type: 'string', default: '.' },
    screenshots: { type: 'string', default: 'target/page' },
  },
});
const Shape = { embedded: Server, cluster: Cluster }[values.deployment];
assert.ok(Shape, `--deployment ${values.deployment}: there are embedded and cluster`);
const tools = createRequire(resolve(values.tools, 'package.json'));
const browser = await browserAt(tools('playwright-core').chromium, values.browser);
after(() => browser.close());

const scene = stage({
  browser,
  deploy: (settings) => new Shape(resolve(values.flare), settings),
  axe: tools('axe-core'),
  screenshots: resolve(values.screenshots),
});
describe('the page', { concurrency: AT_ONCE }, () => {
  for (const play of [signIn, chat, devices, history, groups, restart, keyboard, looks]) play(scene);
});
