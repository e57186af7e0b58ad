const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const TIME_DIGITS = 10;
const RANDOM_DIGITS = 16;
/** A clock that was set back by more than this is believed; by less, ids go on rising from the last. */
const MAX_LEAD_MS = 1_000;

/**
 * A source of ULIDs that rise, also within a millisecond.
 * @param {() => number} nowMs the server's time
 * @param {(bytes: Uint8Array) => Uint8Array} fill fills bytes at random
 * @returns {() => string}
 */
export function ulidSource(nowMs, fill = (bytes) => crypto.getRandomValues(bytes)) {
  let lastMs = -Infinity;
  let random = [];
  return () => {
    const ms = nowMs();
    if (ms > lastMs || lastMs - ms > MAX_LEAD_MS) {
      lastMs = ms;
      random = Array.from(fill(new Uint8Array(RANDOM_DIGITS)), (byte) => byte & 31);
    } else if (!increment(random)) {
      lastMs += 1;
    }
    return time(lastMs) + random.map((digit) => ALPHABET[digit]).join('');
  };
}

function time(ms) {
  let text = '';
  for (let rest = ms, at = 0; at < TIME_DIGITS; at += 1) {
    text = ALPHABET[rest % 32] + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}

/** Adds one to a number of base 32 in place; false if it wrapped round to zero. */
function increment(digits) {
  for (let at = digits.length - 1; at >= 0; at -= 1) {
    digits[at] = (digits[at] + 1) % 32;
    if (digits[at] > 0) return true;
  }
  return false;
}
