/**
 * The server's time, as far as this page knows it. Client ids are minted from it: one that is minted too far ahead of the server is refused.
 * It stands on a monotonic clock, so that a corrected computer clock does not move it.
 */
export class ServerClock {
  #monotonic;
  #offsetMs;

  constructor(monotonic = () => performance.now(), wallMs = Date.now()) {
    this.#monotonic = monotonic;
    this.#offsetMs = wallMs - monotonic();
  }

  /** Takes the time that a Connected or Pong bears. The way here makes it late, which is the safe side. */
  learn(serverTimeMs) {
    this.#offsetMs = serverTimeMs - this.#monotonic();
  }

  /** Unix milliseconds. */
  nowMs() {
    return Math.floor(this.#monotonic() + this.#offsetMs);
  }
}
