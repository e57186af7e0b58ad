import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { Deployment } from './server.js';

const ANY_PORT = '127.0.0.1:0';
/** Few, as many scenes share the servers. */
const PARTITIONS = 4;
/** Whom `flare up` knows, and the group that they share. */
const [OWNER, ...MEMBERS] = ['alice', 'bob', 'carol'];
const GATEWAYS = ['flare-access-gateway', 'flare-core-gateway'];
const OTHERS = [
  'flare-signaling-online',
  'flare-signaling-route',
  'flare-message-orchestrator',
  'flare-storage-writer',
  'flare-storage-reader',
  'flare-session',
  'flare-push-server',
];

/** The nine services, a process each, on the servers of `cargo xtask infra up`; their binaries stand beside `flare`. What it has in the servers has names of its own. */
export class Cluster extends Deployment {
  #secret = randomBytes(32).toString('hex');
  #at = { access_gateway: ANY_PORT, core_gateway: ANY_PORT };
  #isMade = false;

  /** Starts it, with gateways on the ports that they had before if they had any. */
  async start() {
    if (!this.#isMade) await this.command(['topics', 'create', '--replicas', '1'], this.#servers);
    const [access] = await Promise.all([
      this.#launch(GATEWAYS[0], [`access_gateway.listen=${this.#at.access_gateway}`]),
      ...OTHERS.map((name) => this.#launch(name, [])),
    ]);
    const core = await this.#launch(GATEWAYS[1], [
      `core_gateway.listen=${this.#at.core_gateway}`,
      `core_gateway.public_ws_url=ws://${access.access_gateway}/ws`,
    ]);
    this.#at = { access_gateway: access.access_gateway, core_gateway: core.core_gateway };
    if (!this.#isMade) await this.#makeDemoGroup();
    this.#isMade = true;
  }

  /** The page, without a sign-in. */
  get page() {
    return `http://${this.#at.core_gateway}/`;
  }

  /** Where a token comes from, as the sign-in says: no service offers links of development. */
  get tokenSource() {
    return 'Your product’s backend gives you a token.';
  }

  async link(user) {
    return `${this.page}#token=${await this.token(user)}`;
  }

  #launch(name, settings) {
    const listens = name === GATEWAYS[1] ? [] : [`peer.listen=${ANY_PORT}`];
    const all = [...this.#servers, `process.ops_listen=${ANY_PORT}`, ...listens, ...settings, ...this.settings];
    return this.launch(name, join(dirname(this.binary), name), [], all);
  }

  get #servers() {
    const name = basename(this.folder).replace(/\W/g, '').toLowerCase();
    return [
      'process.adapters=cluster',
      `kafka.bootstrap_servers=${server('KAFKA')}`,
      `kafka.prefix=${name}.`,
      `kafka.partitions=${PARTITIONS}`,
      'kafka.allow_single_replica=true',
      `postgres.url=${server('POSTGRES')}`,
      `postgres.schema_prefix=${name}_`,
      `redis.url=${server('REDIS')}`,
      `redis.prefix=${name}`,
      `etcd.endpoints=${server('ETCD')}`,
      `etcd.prefix=${name}/`,
      `peer.secret=${this.#secret}`,
    ];
  }

  async #makeDemoGroup() {
    const words = ['apikey', 'create', '--name', 'page', '--scope', 'conversations', '--json', ...this.data];
    const { secret } = JSON.parse(await this.command(words, this.#servers));
    const group = { clientId: 'up-welcome', conversationId: 'welcome', title: 'Welcome', ownerId: OWNER, memberIds: MEMBERS };
    const made = await fetch(new URL('api/v1/conversations', this.page), {
      method: 'POST',
      headers: { 'x-api-key': secret, 'content-type': 'application/json' },
      body: JSON.stringify(group),
    });
    assert.equal(made.status, 200, await made.text());
  }
}

/** Where a server of `cargo xtask infra up` is. */
function server(name) {
  const variable = `FLARE_TEST_${name}`;
  const value = process.env[variable];
  assert.ok(value, `${variable} is not set: \`cargo xtask infra up\` starts the servers of a cluster and says how to set it`);
  return value;
}
