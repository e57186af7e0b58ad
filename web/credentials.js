const TOKEN = 'flare.token';
const DEVICE = 'flare.device';
const FAREWELL = 'flare.farewell';

/**
 * Who this tab is. A token comes behind the `#` of a development link, which no server and no log sees, and stays in the tab's session storage;
 * so does the device id, so that two tabs are two devices.
 */
export class Credentials {
  #storage;

  constructor(storage = sessionStorage) {
    this.#storage = storage;
  }

  /** Moves the token of a link out of the address bar; true if there was one. */
  takeFromAddress(location, history) {
    const token = new URLSearchParams(location.hash.slice(1)).get('token');
    if (token === null) return false;
    history.replaceState(null, '', location.pathname);
    this.token = token;
    return true;
  }

  get token() {
    return this.#storage.getItem(TOKEN) ?? '';
  }

  set token(token) {
    if (token.trim()) this.#storage.setItem(TOKEN, token.trim());
    else this.#storage.removeItem(TOKEN);
  }

  get deviceId() {
    const bound = claims(this.token).did;
    if (bound) return bound;
    const known = this.#storage.getItem(DEVICE);
    if (known) return known;
    const made = `web-${crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), hex).join('')}`;
    this.#storage.setItem(DEVICE, made);
    return made;
  }

  /** Ends the sign-in; the page begins anew and says why. */
  signOut(reason) {
    this.token = '';
    this.#storage.setItem(FAREWELL, reason);
  }

  /** Why the sign-in ended, once. */
  takeFarewell() {
    const reason = this.#storage.getItem(FAREWELL) ?? '';
    this.#storage.removeItem(FAREWELL);
    return reason;
  }

  /** Another device from here on: the tab was duplicated, and its twin goes on as the old one. */
  forgetDevice() {
    this.#storage.removeItem(DEVICE);
  }
}

function hex(byte) {
  return byte.toString(16).padStart(2, '0');
}

/** What a token says of itself; nothing, if it is no JWT. Only the server checks it. */
function claims(token) {
  try {
    return JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')));
  } catch {
    return {};
  }
}
