import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A `flare up` of its own: a data folder that goes with it, and free ports that it keeps through restarts. */
export class Server {
  #binary;
  #folder = mkdtempSync(join(tmpdir(), 'flare-page-'));
  #child = null;
  #started = null;
  #settings;
  #onExit = () => this.#child?.kill('SIGKILL');

  /** @param settings keys of the configuration, as `key=value` */
  constructor(binary, settings) {
    this.#binary = binary;
    this.#settings = settings;
    // Also when the proof is stopped in the middle.
    process.on('exit', this.#onExit);
  }

  /** Starts it, on the ports that it had before if it had any. */
  async start() {
    const log = openSync(join(this.#folder, 'server.log'), 'a');
    const settings = this.#settings.flatMap((setting) => ['--set', setting]);
    const up = ['up', '--json', ...this.#data, ...settings, ...this.#addresses()];
    this.#child = spawn(this.#binary, up, { env: environment(), stdio: ['ignore', 'pipe', log] });
    closeSync(log);
    const lines = createInterface(this.#child.stdout);
    const [line] = await Promise.race([once(lines, 'line'), once(lines, 'close')]);
    assert.ok(line, `flare up ended before it was up:\n${this.log()}`);
    this.#started = JSON.parse(line);
  }

  /** Ends it as a power cut would. */
  async kill() {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }

  /** Ends it for good, and demands that its data keep the promises. */
  async finish() {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const [status] = await ended;
    assert.equal(status, 0, `flare up ended with ${status}:\n${this.log()}`);
    assert.match(await this.#flare('verify'), /promises kept/);
  }

  /** Takes away what is left of it. */
  remove() {
    process.off('exit', this.#onExit);
    this.#onExit();
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10 });
  }

  log() {
    return readFileSync(join(this.#folder, 'server.log'), 'utf8');
  }

  /** The page, without a sign-in. */
  get page() {
    return `http://${this.#started.core_gateway}/`;
  }

  /** The link that `flare up` prints for a demo user. */
  link(user) {
    return this.#started.links.find((link) => link.user === user).url;
  }

  async token(user, ttlS = 3_600) {
    return (await this.#flare('token', '--user', user, '--ttl', String(ttlS))).trim();
  }

  /** Asks the API as a user; again when the server says that it may, if it was asked too fast. */
  async ask(token, path, body) {
    const answer = await fetch(new URL(path, this.page), {
      method: body ? 'POST' : 'GET',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: body && JSON.stringify(body),
    });
    const answered = await answer.json();
    if (answer.status === 429) {
      await setTimeout(Number(answered.error.retryAfterMs));
      return this.ask(token, path, body);
    }
    assert.equal(answer.status, 200, JSON.stringify(answered));
    return answered;
  }

  /** Free ones, or those that it had. */
  #addresses() {
    if (!this.#started) return ['--listen', '127.0.0.1:0'];
    const { core_gateway, access_gateway, ops } = this.#started;
    const kept = { 'core_gateway.listen': core_gateway, 'access_gateway.listen': access_gateway, 'process.ops_listen': ops };
    return Object.entries(kept).flatMap(([key, address]) => ['--set', `${key}=${address}`]);
  }

  get #data() {
    return ['--data', join(this.#folder, 'data')];
  }

  async #flare(command, ...options) {
    const { stdout } = await run(this.#binary, [command, ...options, ...this.#data], { env: environment() });
    return stdout;
  }
}

/** Without the settings of whoever runs the proof. */
function environment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FLARE_') && name !== 'RUST_LOG'));
}
