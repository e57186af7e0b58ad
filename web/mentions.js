const MENTION = /(^|[^A-Za-z0-9._:@+=~-])@([A-Za-z0-9._:@+=~-]{1,64})/g;

/**
 * The content of a typed text, without half characters, which are no JSON: who of `users` is mentioned by `@name`, and whether everybody is by
 * `@all`. Offsets are Unicode scalar values, as the contract says, not UTF-16 units.
 */
export function textContent(typed, users) {
  const text = typed.toWellFormed();
  const known = new Set(users);
  const mentions = [];
  let mentionAll = false;
  for (const match of text.matchAll(MENTION)) {
    const name = longestKnown(match[2], known);
    if (!name) continue;
    if (name === 'all' && !known.has('all')) mentionAll = true;
    else mentions.push({ userId: name, offset: scalars(text.slice(0, match.index + match[1].length)), length: scalars(name) + 1 });
  }
  return { text: { text }, ...(mentions.length > 0 && { mentions }), ...(mentionAll && { mentionAll }) };
}

/**
 * A text cut where mentions begin and end.
 * @returns {{text: string, userId?: string}[]}
 */
export function segments(text, mentions = []) {
  const chars = Array.from(text);
  const parts = [];
  let done = 0;
  for (const { userId, offset = 0, length = 0 } of [...mentions].sort((a, b) => (a.offset ?? 0) - (b.offset ?? 0))) {
    if (length === 0 || offset < done || offset + length > chars.length) continue;
    if (offset > done) parts.push({ text: chars.slice(done, offset).join('') });
    parts.push({ text: chars.slice(offset, offset + length).join(''), userId });
    done = offset + length;
  }
  if (done < chars.length) parts.push({ text: chars.slice(done).join('') });
  return parts;
}

/** Ids may hold dots and the like, sentences end in them: `@bob.` means bob. */
function longestKnown(name, known) {
  for (let end = name.length; end > 0; end -= 1) {
    const head = name.slice(0, end);
    if (known.has(head) || head === 'all') return head;
    if (/[A-Za-z0-9]/.test(name[end - 1])) return '';
  }
  return '';
}

function scalars(text) {
  return Array.from(text).length;
}
