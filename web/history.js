import { eventFromWire } from './event.js';
import { readRanges } from './ranges.js';
import { holes } from './timeline.js';

const PAGE_SIZE = 40;

/** Whether there may be more above what is loaded, and it can be asked for now. */
export function canLoadOlder(link, it) {
  return link.isOpen && !it.isDraft && !it.isLoading && !it.timeline.isComplete;
}

/** Loads the page of messages above what is loaded of a conversation, and the notices among them. */
export async function loadOlder(link, it) {
  const { timeline } = it;
  it.isLoading = true;
  it.trouble = '';
  try {
    const high = timeline.low;
    const page = await link.call('storage.v1.StorageReaderService/History', {
      conversationId: it.id,
      beforeSeq: String(high),
      pageSize: PAGE_SIZE,
    });
    if (Number(page.headSeq ?? 0) < high - 1) throw new Error('the newest messages are not stored yet');
    const messages = (page.messages ?? []).map(({ event, recalled }) => ({
      event: eventFromWire(event),
      isRecalled: recalled === true,
    }));
    const seqs = messages.map((row) => row.event.seq);
    const isComplete = !page.nextPageToken;
    const low = isComplete ? Math.max(1, Number(page.floorSeq ?? 0)) : seqs[0];
    const events = it.isGroup ? await readRanges(link, it.id, holes(seqs, low, high)) : [];
    if (it.timeline !== timeline || timeline.low !== high) return;
    timeline.prepend(low, messages, events);
    timeline.isComplete = isComplete;
  } catch (refusal) {
    it.trouble = refusal.message;
  } finally {
    it.isLoading = false;
  }
}
