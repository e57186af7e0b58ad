import { DISCONNECTED } from './refusal.js';

const ATTEMPTS = 5;
const MAX_MEMBER_PAGES = 5;
const SERVICE = 'session.v1.SessionService';

/** What each role may do in a group; the server decides, this only spares buttons that it would refuse. */
const PERMITTED = {
  OWNER: new Set(['rename', 'add', 'remove-MEMBER', 'remove-ADMIN', 'role', 'transfer', 'disband', 'recall']),
  ADMIN: new Set(['rename', 'add', 'remove-MEMBER', 'leave', 'recall']),
  MEMBER: new Set(['leave']),
};

/** Whether the user may do something in a conversation. */
export function may(it, action) {
  return it.isGroup && it.canWrite && PERMITTED[it.role]?.has(action) === true;
}

/** Changes of groups and of one's settings. Each change bears a client id, so trying again is safe. */
export class Groups {
  #link;
  #mint;

  constructor({ link, mint }) {
    this.#link = link;
    this.#mint = mint;
  }

  /**
   * Changes a group, through short losses of the connection.
   * @param name a method of the session service, such as `RenameConversation`
   */
  async change(name, fields) {
    const clientId = this.#mint();
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#link.call(`${SERVICE}/${name}`, { clientId, ...fields });
      } catch (refusal) {
        const isWorthwhile = refusal.isRetryable || refusal.code === DISCONNECTED;
        if (!isWorthwhile || attempt === ATTEMPTS) throw refusal;
        await new Promise((resolve) => setTimeout(resolve, Math.max(refusal.retryAfterMs, 250 * 2 ** attempt)));
      }
    }
  }

  async updateSettings(it, patch) {
    const { settings } = await this.#link.call(`${SERVICE}/UpdateSettings`, { conversationId: it.id, ...patch });
    return settings ?? {};
  }

  /** `{userId, role}` of a group, at most its first thousand. */
  async members(it) {
    const members = [];
    let pageToken = '';
    for (let page = 0; page < MAX_MEMBER_PAGES; page += 1) {
      const fields = { conversationId: it.id, pageSize: 200, pageToken };
      const answer = await this.#link.call(`${SERVICE}/ListMembers`, fields);
      members.push(...(answer.members ?? []));
      pageToken = answer.nextPageToken ?? '';
      if (!pageToken) break;
    }
    return members;
  }
}
