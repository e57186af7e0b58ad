/** Nothing that the browser would do of itself: no updates, no accounts, nothing over the network but the page. */
const ARGUMENTS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/**
 * Starts a headless browser in a fresh profile. It runs without its sandbox, which a container or root has no use of; the page that it shows
 * is the tested one alone.
 */
export function browserAt(chromium, executablePath) {
  return chromium.launch({ executablePath, headless: true, chromiumSandbox: false, args: ARGUMENTS });
}
