const COUNTABLE = 1;
const MEMBERSHIP = 2;
const MENTIONS_ALL = 8;

/** Whether conversations of the class have members who come and go. */
export function isGroup(conversationClass) {
  return conversationClass === 'GROUP' || conversationClass === 'LARGE';
}

/** An event of the contract's JSON as the page uses it: numbers for seqs and times, the body of whatever kind as `body`. */
export function eventFromWire({ header = {}, body = {} }) {
  const flags = header.flags ?? 0;
  return {
    conversationId: header.conversationId,
    seq: Number(header.seq),
    sender: header.senderId ?? '',
    isFromDevice: Boolean(header.senderDeviceId),
    clientId: header.clientId ?? '',
    timeMs: Number(header.timeMs ?? 0),
    kind: header.kind,
    isGroup: isGroup(header.class),
    isCountable: (flags & COUNTABLE) !== 0,
    changesMembers: (flags & MEMBERSHIP) !== 0,
    mentionsAll: (flags & MENTIONS_ALL) !== 0,
    participants: header.participants ?? [],
    mentions: header.mentions ?? [],
    targetSeq: Number(header.targetSeq ?? 0),
    body: Object.values(body)[0] ?? {},
  };
}

/** The event that one's own command became: its ack stands for it, no Deliver comes. */
export function eventOfAck(item, ack, conversation, me) {
  const isRecall = item.recallSeq > 0;
  return {
    conversationId: ack.conversationId,
    seq: Number(ack.seq),
    sender: me,
    isFromDevice: true,
    clientId: item.clientId,
    timeMs: Number(ack.timeMs),
    kind: isRecall ? 'MESSAGE_RECALLED' : 'MESSAGE_CREATED',
    isGroup: conversation.isGroup,
    isCountable: !isRecall,
    changesMembers: false,
    mentionsAll: item.content?.mentionAll === true,
    participants: conversation.participants,
    mentions: (item.content?.mentions ?? []).map((mention) => mention.userId),
    targetSeq: item.recallSeq ?? 0,
    body: isRecall ? {} : { content: item.content },
  };
}

/** A message whose content is withheld, since it is recalled: the recall itself may come later, or was long ago. */
export function isWithheld(event) {
  return event.kind === 'MESSAGE_CREATED' && !event.body.content;
}

export function mentionsUser(event, user) {
  return event.mentionsAll || event.mentions.includes(user);
}
