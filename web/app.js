import { isNamed, named, ofConversation, ofUser, settled } from './address.js';
import { Chat } from './chat.js';
import { ServerClock } from './clock.js';
import { Credentials } from './credentials.js';
import { field, form, newDirect, newGroup } from './dialogs.js';
import { Link } from './link.js';
import { ulidSource } from './ulid.js';
import { ComposerView } from './view-composer.js';
import { DetailsView } from './view-details.js';
import { ListView } from './view-list.js';
import { SignInView } from './view-sign-in.js';
import { StatusView, connectionStatus } from './view-status.js';
import { ThreadView } from './view-thread.js';
import { shown, timeOfDay } from './wording.js';

const FRAME_MS = 16;
/** So long before it ends, the page says that the sign-in ends. */
const EXPIRY_NOTICE_MS = 120_000;

const byId = (id) => document.getElementById(id);
const credentials = new Credentials();
const clock = new ServerClock();
const mint = ulidSource(() => clock.nowMs());
/** The signed-in user's chat; null before the first connection. A page serves one user. */
let chat = null;
let websocketUrl = '';
let tokenExpiresMs = Infinity;
let renderTimer = 0;

const link = new Link({
  findUrl,
  credentials,
  clock,
  on: { state: linkChanged, connected, frame: (kind, body) => chat?.receive(kind, body) },
});
const status = new StatusView();
const list = new ListView({ onChange: invalidate });
const thread = new ThreadView();
const composer = new ComposerView({ onSaid: () => thread.follow() });
const details = new DetailsView({ onChange: invalidate, onLeft: () => (location.hash = '') });
const signIn = new SignInView({ onToken: useToken });

/** The server may come back at another address, so it is asked each time; a silent core-gateway does not keep one from the link. */
async function findUrl() {
  try {
    const answer = await fetch('api/v1/client-config', { cache: 'no-store' });
    const config = await answer.json();
    // The page's security policy names the address, so that another one needs the page anew.
    if (websocketUrl && config.websocketUrl && config.websocketUrl !== websocketUrl) location.reload();
    websocketUrl = config.websocketUrl || websocketUrl;
    signIn.explain(config.developmentSignIn === true);
  } catch (error) {
    if (!websocketUrl) throw error;
  }
  return websocketUrl;
}

function connected(body) {
  tokenExpiresMs = Number(body.tokenExpiresMs ?? 0) || Infinity;
  const on = { changed: invalidate, news, trouble: (message) => status.toast(message) };
  chat ??= new Chat({ me: body.userId, tenant: body.tenantId, link, clock, mint, on });
  byId('chat').hidden = false;
  chat.resume(body);
  route();
}

function linkChanged({ phase, reason, message }) {
  if (phase !== 'open') chat?.lost();
  if (phase === 'stopped' && reason === 'UNAUTHENTICATED') signOut(`You are signed out: ${message || 'the token is not valid any more'}.`);
  invalidate();
}

/** Each sign-in has a page of its own, so that nothing of one user is left when the next comes. */
function useToken(token) {
  credentials.token = token;
  location.reload();
}

function signOut(reason) {
  credentials.signOut(reason);
  location.reload();
}

/** The open conversation stands in the address, so that links, reload and the back button do what one expects. */
function route() {
  if (credentials.takeFromAddress(location, history)) {
    location.reload();
    return;
  }
  const address = named(location.hash);
  if (chat && !isNamed(address, chat.open)) chat.select(address);
}

function news(it, event) {
  const text = shown(event.body.content).text.slice(0, 200);
  byId('news').textContent = it === chat.open ? `${event.sender}: ${text}` : `${event.sender} in ${it.name}: ${text}`;
}

function renew() {
  form({
    title: 'Renew the sign-in',
    fields: [field('New token', { name: 'token', rows: 4, required: true })],
    send: 'Renew',
    onSend: async ({ token }) => {
      try {
        const { response } = await link.request('refresh', { token: token.trim() });
        credentials.token = token;
        tokenExpiresMs = Number(response.tokenExpiresMs);
        invalidate();
        return '';
      } catch (refusal) {
        return refusal.message;
      }
    },
  });
}

function currentStatus() {
  const asNewDevice = () => {
    credentials.forgetDevice();
    link.start();
  };
  if (!link.isOpen) return connectionStatus(link, { reconnect: () => link.start(), asNewDevice });
  if (tokenExpiresMs - clock.nowMs() > EXPIRY_NOTICE_MS) return null;
  return { text: `Your sign-in ends at ${timeOfDay(tokenExpiresMs)}.`, action: 'Renew', act: renew };
}

/** Draws soon, once for all that changed meanwhile; by a timer, because hidden tabs have a title to show too. */
function invalidate() {
  renderTimer ||= setTimeout(render, FRAME_MS);
}

function render() {
  renderTimer = 0;
  status.render(credentials.token ? currentStatus() : null);
  if (!chat) return;
  // The inbox, or the first message's ack, may tell of what the address names.
  if (!chat.open && /^#[cu]=/.test(location.hash)) route();
  const address = settled(location.hash, chat.open);
  if (address) history.replaceState(null, '', address);
  const nowMs = clock.nowMs();
  byId('me').textContent = chat.me;
  list.render(chat, nowMs);
  thread.render(chat, nowMs);
  composer.render(chat);
  details.render(chat, nowMs);
  const unread = chat.conversations.list(false).reduce((sum, it) => sum + (it.isMuted(nowMs) ? 0 : it.unread), 0);
  document.title = unread > 0 ? `(${unread}) Flare` : 'Flare';
}

byId('new-direct').addEventListener('click', () => newDirect((user) => (location.hash = ofUser(user))));
byId('new-group').addEventListener('click', () =>
  newGroup(async (...group) => (location.hash = ofConversation(await chat.createGroup(...group)))),
);
byId('sign-out').addEventListener('click', () => signOut(''));
addEventListener('hashchange', route);
addEventListener('online', () => link.probe());
document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && credentials.token && link.probe());
setInterval(() => (link.isOpen && tokenExpiresMs - clock.nowMs() > EXPIRY_NOTICE_MS) || invalidate(), 1_000);

credentials.takeFromAddress(location, history);
if (credentials.token) {
  link.start();
} else {
  signIn.show(credentials.takeFarewell());
  // Without an answer the page explains both ways of signing in.
  findUrl().catch(() => signIn.explain(true));
}
