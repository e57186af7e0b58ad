import { becomes, until } from './until.js';

/** One person at one tab: what he does there, and what he sees. */
export class Person {
  constructor(name, page) {
    this.name = name;
    this.page = page;
  }

  /** Writes to another user for the first time. */
  async writeTo(user) {
    await this.page.getByRole('button', { name: 'New message' }).click();
    await this.page.getByLabel('User id').fill(user);
    await this.page.getByRole('button', { name: 'Write' }).click();
    await this.heading(user);
  }

  /** Opens a conversation of the list. */
  async open(name) {
    await this.entry(name).locator('a').click();
    await this.heading(name);
  }

  /** Where there is no room for both, the list and a conversation take turns. */
  async goToList() {
    const back = this.page.getByRole('link', { name: 'Back to the conversations' });
    if (await back.isVisible()) await back.click();
  }

  async heading(name) {
    await this.page.getByRole('heading', { name, exact: true }).waitFor();
  }

  get draft() {
    return this.page.getByRole('textbox', { name: 'Message', exact: true });
  }

  /** Types messages and sends them by Enter; the text comes as from an input method, at once. */
  async say(...texts) {
    await this.draft.focus();
    for (const text of texts) {
      await this.page.keyboard.insertText(text);
      await this.page.keyboard.press('Enter');
    }
  }

  /** A conversation's line in the list. */
  entry(name) {
    return this.page.locator('#conversations > li').filter({ has: this.page.locator('.name', { hasText: new RegExp(`^${name}$`) }) });
  }

  /** What the list says of a conversation; null: it is not there. */
  async listed(name) {
    const [entry] = await this.entry(name).all();
    if (!entry) return null;
    return entry.evaluate((row) => ({
      line: row.querySelector('.line').textContent,
      unread: row.querySelector('.badge:not(.at) [aria-hidden]')?.textContent ?? '',
      isMentioned: row.querySelector('.badge.at') !== null,
    }));
  }

  hasUnread(name, unread) {
    return becomes(`${this.name}'s unread count of ${name}`, async () => (await this.listed(name))?.unread, unread);
  }

  /** The open conversation's rows, in order: `{who, text, state}` of messages, `{notice}` of what else happened. */
  rows() {
    return this.page.evaluate((me) => {
      return [...document.querySelectorAll('#message-list > li')].map((row) => {
        const bubble = row.querySelector('.bubble');
        if (!bubble) return { notice: row.textContent };
        const sender = bubble.firstElementChild.textContent;
        return {
          who: sender === 'You' ? me : sender,
          text: (bubble.querySelector('.body p') ?? bubble.querySelector('.gone')).textContent,
          state: bubble.querySelector('.state')?.textContent ?? '',
        };
      });
    }, this.name);
  }

  /** The open conversation's messages, as `alice: Hi`. */
  async messages() {
    return (await this.rows()).filter((row) => row.who).map(({ who, text }) => `${who}: ${text}`);
  }

  sees(messages, withinMs) {
    return becomes(`what ${this.name} sees`, () => this.messages(), messages, withinMs);
  }

  /** The state of one's own message. */
  isTold(text, state) {
    return becomes(`${this.name}'s “${text}”`, async () => (await this.rows()).find((row) => row.text === text)?.state, state);
  }

  seesNotice(notice) {
    return until(`${this.name} sees “${notice}”`, async () => (await this.rows()).some((row) => row.notice === notice));
  }

  /** The line above everything; '' while there is nothing to say. */
  async status() {
    const line = this.page.locator('#status');
    return (await line.isVisible()) ? line.locator('span').textContent() : '';
  }

  async details() {
    await this.page.getByRole('button', { name: 'Details', exact: true }).click();
    return this.page.getByRole('complementary', { name: 'Details' });
  }

  /** Presses a button of the dialog that is open. */
  async confirm(label) {
    await this.page.getByRole('dialog').getByRole('button', { name: label, exact: true }).click();
    await this.page.getByRole('dialog').waitFor({ state: 'detached' });
  }
}
