/** What the page's address names: a conversation by its id, `#c=`, or the user of a direct one that may not exist yet, `#u=`. */
export function named(hash) {
  const address = new URLSearchParams(hash.slice(1));
  return { id: address.get('c'), user: address.get('u') };
}

/** Whether that is the open conversation. */
export function isNamed({ id, user }, open) {
  return Boolean(open) && (id ? open.id === id : user === open.peer);
}

export function ofConversation(id) {
  return `#c=${encodeURIComponent(id)}`;
}

export function ofUser(user) {
  return `#u=${encodeURIComponent(user)}`;
}

/**
 * What the address becomes once the conversation with the user that it names exists, and is open; null: it stays. Until the event of a new
 * address comes, what is open is another conversation.
 */
export function settled(hash, open) {
  const { id, user } = named(hash);
  return user && !id && isNamed({ id, user }, open) && !open.isDraft ? ofConversation(open.id) : null;
}
