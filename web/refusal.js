/** What may succeed later, unchanged; the contract's list. */
const RETRYABLE = new Set(['RATE_LIMITED', 'RESOURCE_EXHAUSTED', 'RETRY_IN_ORDER', 'UNAVAILABLE', 'DEADLINE_EXCEEDED', 'NOT_OWNER']);

/** The connection went before the answer came: whether it happened is unknown. Not a code of the contract. */
export const DISCONNECTED = 'DISCONNECTED';

/** A refused request: the contract's `Error`, or a lost connection. */
export class Refusal extends Error {
  constructor({ code = 'INTERNAL', message = '', field = '', retryAfterMs = 0, serverTimeMs = 0 }) {
    super(message || code);
    this.code = code;
    this.field = field;
    this.retryAfterMs = Number(retryAfterMs);
    this.serverTimeMs = Number(serverTimeMs);
  }

  get isRetryable() {
    return RETRYABLE.has(this.code);
  }
}
