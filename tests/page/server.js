import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What scenes ask of a deployment, of whichever shape: a folder that goes with it, and free ports that it keeps through restarts. */
export class Deployment {
  #onExit = () => this.killAll();

  /** @param binary of `flare`; @param settings keys of the configuration, as `key=value` */
  constructor(binary, settings) {
    this.binary = binary;
    this.settings = settings;
    this.folder = mkdtempSync(join(tmpdir(), 'flare-page-'));
    this.children = new Map();
    // Also when the proof is stopped in the middle.
    process.on('exit', this.#onExit);
  }

  /** Starts a process, and reads the line by which it says that it is ready and where. */
  async launch(name, binary, words, settings) {
    const log = openSync(join(this.folder, `${name}.log`), 'a');
    const set = settings.flatMap((setting) => ['--set', setting]);
    const child = spawn(binary, [...words, '--json', ...this.data, ...set], { env: environment(), stdio: ['ignore', 'pipe', log] });
    closeSync(log);
    this.children.set(name, child);
    const lines = createInterface(child.stdout);
    const [line] = await Promise.race([once(lines, 'line'), once(lines, 'close')]);
    assert.ok(line, `${name} ended before it was ready:\n${this.log()}`);
    return JSON.parse(line);
  }

  /** Ends it as a power cut would. */
  async kill() {
    await this.#end('SIGKILL');
  }

  /** Ends it for good, and demands that it does so in order. */
  async finish() {
    for (const [name, status] of await this.#end('SIGTERM')) assert.equal(status, 0, `${name} ended with ${status}:\n${this.log()}`);
  }

  /** Takes away what is left of it. */
  remove() {
    process.off('exit', this.#onExit);
    this.killAll();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10 });
  }

  killAll() {
    for (const child of this.children.values()) child.kill('SIGKILL');
  }

  async #end(signal) {
    const ending = [...this.children].map(async ([name, child]) => {
      const ended = once(child, 'exit');
      child.kill(signal);
      const [status] = await ended;
      return [name, status];
    });
    this.children.clear();
    return Promise.all(ending);
  }

  /** What its processes have logged. */
  log() {
    const logs = readdirSync(this.folder).filter((name) => name.endsWith('.log'));
    return logs.map((name) => `--- ${name}\n${readFileSync(join(this.folder, name), 'utf8')}`).join('\n');
  }

  async token(user, ttlS = 3_600) {
    return (await this.flare('token', '--user', user, '--ttl', String(ttlS))).trim();
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

  get data() {
    return ['--data', join(this.folder, 'data')];
  }

  /** Runs a command of `flare` on its data folder. */
  async flare(...words) {
    return this.command([...words, ...this.data], []);
  }

  /** Runs a command of `flare`, and gives what it prints. */
  async command(words, settings) {
    const set = settings.flatMap((setting) => ['--set', setting]);
    const { stdout } = await run(this.binary, [...words, ...set], { env: environment() });
    return stdout;
  }
}

/** A `flare up` of its own. */
export class Server extends Deployment {
  #started = null;

  /** Starts it, on the ports that it had before if it had any. */
  async start() {
    const up = this.#started ? ['up'] : ['up', '--listen', '127.0.0.1:0'];
    this.#started = await this.launch('server', this.binary, up, [...this.settings, ...this.#addresses()]);
  }

  /** Ends it for good, and demands that its data keep the promises. */
  async finish() {
    await super.finish();
    assert.match(await this.flare('verify'), /promises kept/);
  }

  /** The page, without a sign-in. */
  get page() {
    return `http://${this.#started.core_gateway}/`;
  }

  /** Where a token comes from, as the sign-in says. */
  get tokenSource() {
    return 'flare token --user alice';
  }

  /** The link that `flare up` prints for a demo user. */
  async link(user) {
    return this.#started.links.find((link) => link.user === user).url;
  }

  #addresses() {
    if (!this.#started) return [];
    const { core_gateway, access_gateway, ops } = this.#started;
    return [`core_gateway.listen=${core_gateway}`, `access_gateway.listen=${access_gateway}`, `process.ops_listen=${ops}`];
  }
}

/** Without the settings of whoever runs the proof. */
function environment() {
  const foreign = ['RUST_LOG', 'KAFKA_BOOTSTRAP_SERVERS', 'CONSUL_ENDPOINTS'];
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FLARE_') && !foreign.includes(name)));
}
