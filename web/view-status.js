/** The line above everything: how the connection is, and what to do about it. */
export class StatusView {
  #line = document.getElementById('status');
  #text = this.#line.querySelector('span');
  #button = this.#line.querySelector('button');
  #toast = document.getElementById('toast');
  #act = () => {};
  #timer = 0;

  constructor() {
    this.#button.addEventListener('click', () => this.#act());
  }

  /** @param shown `{text, action, act}`, or null for nothing */
  render(shown) {
    this.#line.hidden = !shown;
    if (!shown) return;
    if (this.#text.textContent !== shown.text) this.#text.textContent = shown.text;
    this.#button.hidden = !shown.action;
    this.#button.textContent = shown.action ?? '';
    this.#act = shown.act ?? (() => {});
  }

  /** Says for a while that something did not work. */
  toast(message) {
    clearTimeout(this.#timer);
    this.#toast.textContent = message;
    this.#timer = setTimeout(() => (this.#toast.textContent = ''), 8_000);
  }
}

/** What is to be said of a link's state. */
export function connectionStatus(link, { reconnect, asNewDevice }) {
  const { phase, retryAtMs, reason, message } = link.state;
  if (phase === 'connecting') return { text: 'Connecting…' };
  if (phase === 'waiting') {
    const seconds = Math.max(0, Math.ceil((retryAtMs - performance.now()) / 1_000));
    return { text: `No connection. Trying again in ${seconds} s. What you write is kept and sent then.`, action: 'Try now', act: reconnect };
  }
  if (reason === 'REPLACED') {
    return { text: 'This device is connected elsewhere, perhaps in a copy of this tab.', action: 'Use this tab too', act: asNewDevice };
  }
  if (phase === 'stopped') return { text: `The server closed this connection. ${message ?? ''}`, action: 'Connect again', act: reconnect };
  return null;
}
