import { eventFromWire } from './event.js';
import { Refusal } from './refusal.js';

/** The contract's bounds of one Sync. */
export const MAX_RANGES = 50;
export const MAX_EVENTS = 200;

/**
 * Reads ranges of one conversation whole, in as many Syncs as it takes.
 * @param {{afterSeq: number, limit: number}[]} ranges
 */
export async function readRanges(link, conversationId, ranges) {
  const events = [];
  const rest = [...ranges];
  while (rest.length > 0) {
    const asked = rest.splice(0, MAX_RANGES);
    const results = await sync(
      link,
      asked.map(({ afterSeq, limit }) => ({ conversationId, afterSeq, limit: Math.min(limit, MAX_EVENTS) })),
    );
    results.forEach((result, at) => {
      if (result.error) throw result.error;
      const { afterSeq, limit } = asked[at];
      const done = result.events.at(-1)?.seq ?? afterSeq;
      events.push(...result.events);
      if (result.hasMore && done < afterSeq + limit) rest.push({ afterSeq: done, limit: afterSeq + limit - done });
    });
  }
  return events;
}

/**
 * One Sync.
 * @returns {Promise<{conversationId, events, headSeq, floorSeq, hasMore, error}[]>} in the order of the ranges
 */
export async function sync(link, ranges) {
  const wire = ranges.map((range) => ({ ...range, afterSeq: String(range.afterSeq) }));
  const { response } = await link.request('sync', { ranges: wire });
  return (response?.ranges ?? []).map((result) => ({
    conversationId: result.conversationId,
    events: (result.events ?? []).map(eventFromWire),
    headSeq: Number(result.headSeq ?? 0),
    floorSeq: Number(result.floorSeq ?? 0),
    hasMore: result.hasMore === true,
    error: result.error ? new Refusal(result.error) : null,
  }));
}
