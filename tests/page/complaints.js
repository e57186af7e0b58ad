/** What a browser says of a server that is not there. The page cannot keep it from saying so. */
const UNREACHABLE = /net::ERR_(CONNECTION|EMPTY_RESPONSE|INCOMPLETE_CHUNKED|SOCKET)|WebSocket connection to '[^']+' failed/;

/** Everything that a page must not do: errors on the console, unhandled exceptions and rejections, breaches of its security policy, crashes. */
export class Complaints {
  /** Whether the server is away on purpose. */
  isServerAway = false;
  all = [];

  listen(page, who) {
    const hear = (text) => this.all.push(`${who}: ${text}`);
    page.on('pageerror', (error) => hear(error.stack));
    page.on('crash', () => hear('the tab crashed'));
    page.on('console', (message) => {
      if (message.type() !== 'error') return;
      if (this.isServerAway && UNREACHABLE.test(message.text())) return;
      hear(`${message.text()} (${message.location().url})`);
    });
    return page.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) =>
        console.error(`against the security policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`),
      );
    });
  }
}
