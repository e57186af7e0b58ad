//! What is read: the inbox and all conversations, and what to ask the server for.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use flare_proto::{
    session::SyncInboxResponse,
    storage::{RangeResult, SnapshotResponse},
};

use crate::{
    cursors::Cursors,
    error::Refusal,
    event::{ConversationEvent, Event, Via},
    observer::{Observer, SyncAnswer},
    options::FirstSight,
    queue::EventQueue,
    timeline::{Offered, Timeline},
};

/// Most syncs on their way at once.
const MAX_SYNCS: usize = 4;
/// Most conversations in one sync.
const MAX_RANGES: usize = 10;
/// Most events that one sync asks for, over all its conversations.
const MAX_SYNC_EVENTS: u32 = 400;
/// Most events that a sync asks of one conversation.
const SYNC_LIMIT: u32 = 100;
/// Most snapshots on their way at once.
const MAX_SNAPSHOTS: usize = 4;
/// The pause after an answer that brought nothing new though more is known of, in milliseconds; doubles with each.
const SHORTEST_PAUSE_MS: u64 = 20;
/// The longest such pause.
const LONGEST_PAUSE_MS: u64 = 5_000;

/// One conversation in a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) conversation_id: String,
    pub(crate) after_seq: u64,
    pub(crate) limit: u32,
}

/// What to ask the server for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// The inbox, from this token on.
    Inbox(String),
    Sync(Vec<Range>),
    Snapshot { conversation_id: String, messages: u32 },
}

/// The inbox, page by page.
#[derive(Debug, Default)]
struct Inbox {
    token: String,
    wanted: bool,
    open: bool,
    /// Something changed while a page was on its way.
    again: bool,
    not_before_ms: u64,
    refusals: u32,
}

/// All that is read.
pub(crate) struct Reading {
    queue: Arc<EventQueue>,
    observer: Arc<dyn Observer>,
    first_sight: FirstSight,
    timelines: HashMap<String, Timeline>,
    /// Conversations that are behind and not being asked for, in the order in which they fell behind.
    behind: VecDeque<String>,
    inbox: Inbox,
    syncs: usize,
    snapshots: usize,
    /// The server's largest page.
    pub(crate) max_page: u32,
}

impl Reading {
    pub(crate) fn new(
        queue: Arc<EventQueue>,
        observer: Arc<dyn Observer>,
        first_sight: FirstSight,
        cursors: Cursors,
    ) -> Self {
        let mut reading = Self {
            queue,
            observer,
            first_sight,
            timelines: HashMap::new(),
            behind: VecDeque::new(),
            inbox: Inbox {
                token: cursors.inbox_token,
                ..Inbox::default()
            },
            syncs: 0,
            snapshots: 0,
            max_page: 200,
        };
        for (conversation_id, cursor) in cursors.conversations {
            reading
                .timelines
                .insert(conversation_id.clone(), Timeline::new(cursor));
            reading.enqueue(&conversation_id);
        }
        reading
    }

    pub(crate) fn connected(&mut self) {
        self.inbox.wanted = true;
        self.inbox.not_before_ms = 0;
    }

    /// What was asked is never answered.
    pub(crate) fn disconnected(&mut self, open: impl IntoIterator<Item = Question>) {
        for question in open {
            self.failed(question, 0);
        }
        self.inbox.again = false;
    }

    /// An event that the server pushed, or that an own receipt stands for.
    pub(crate) fn arrived(&mut self, event: ConversationEvent) {
        self.observer.arrived(&event);
        if !self.queue.has_reader() {
            return;
        }
        let conversation_id = event.header.conversation_id.clone();
        let room = self.queue.has_room();
        let begins_here = event.header.seq == 1;
        let timeline = self.timeline(&conversation_id);
        if begins_here && room && timeline.cursor().is_none() {
            // There is nothing before it, so nothing to take a snapshot of.
            timeline.begin(0);
        }
        if let Offered::Tell(events) = timeline.offer(event, room) {
            self.tell(events);
        }
        self.enqueue(&conversation_id);
    }

    pub(crate) fn hinted(&mut self, conversation_ids: &[String]) {
        if conversation_ids.is_empty() {
            self.observer.sync_hint(None);
            self.want_inbox();
            return;
        }
        for conversation_id in conversation_ids {
            self.observer.sync_hint(Some(conversation_id));
            self.timeline(conversation_id).hint();
            self.enqueue(conversation_id);
        }
    }

    pub(crate) fn want_inbox(&mut self) {
        if self.inbox.open {
            self.inbox.again = true;
        } else {
            self.inbox.wanted = true;
        }
    }

    /// The next thing to ask for, if the consumer has room for the answer.
    pub(crate) fn next_question(&mut self, now_ms: u64) -> Option<Question> {
        if !self.queue.wants_more() {
            return None;
        }
        if self.inbox.wanted && !self.inbox.open && self.inbox.not_before_ms <= now_ms {
            self.inbox.open = true;
            return Some(Question::Inbox(self.inbox.token.clone()));
        }
        self.next_reading(now_ms)
    }

    fn next_reading(&mut self, now_ms: u64) -> Option<Question> {
        let mut ranges = Vec::new();
        let mut events = 0;
        for _ in 0..self.behind.len() {
            let Some(conversation_id) = self.behind.pop_front() else {
                break;
            };
            let Some(timeline) = self.timelines.get_mut(&conversation_id) else {
                continue;
            };
            if timeline.ask.open || !timeline.is_behind() {
                timeline.ask.queued = false;
                continue;
            }
            if timeline.ask.not_before_ms > now_ms {
                self.behind.push_back(conversation_id);
                continue;
            }
            if timeline.cursor().is_none() {
                match self.first_sight {
                    FirstSight::FromStart => drop(timeline.begin(0)),
                    FirstSight::Snapshot(wanted) if self.snapshots < MAX_SNAPSHOTS => {
                        self.snapshots += 1;
                        timeline.ask.queued = false;
                        timeline.asked();
                        let messages = wanted.min(timeline.ask.limit).clamp(1, self.max_page.max(1));
                        return Some(Question::Snapshot {
                            conversation_id,
                            messages,
                        });
                    }
                    FirstSight::Snapshot(_) => {
                        self.behind.push_back(conversation_id);
                        continue;
                    }
                }
            }
            let limit = timeline.ask.limit.min(SYNC_LIMIT).clamp(1, self.max_page.max(1));
            let is_full = ranges.len() >= MAX_RANGES
                || !ranges.is_empty() && events + limit > MAX_SYNC_EVENTS;
            if self.syncs >= MAX_SYNCS || is_full {
                self.behind.push_front(conversation_id);
                break;
            }
            timeline.ask.queued = false;
            timeline.asked();
            events += limit;
            ranges.push(Range {
                after_seq: timeline.cursor().unwrap_or_default(),
                conversation_id,
                limit,
            });
        }
        if ranges.is_empty() {
            return None;
        }
        self.syncs += 1;
        Some(Question::Sync(ranges))
    }

    /// When to look for a question again, if nothing happens before.
    pub(crate) fn wake_at(&self, now_ms: u64) -> Option<u64> {
        if !self.queue.wants_more() {
            return None;
        }
        let inbox = (self.inbox.wanted && !self.inbox.open).then_some(self.inbox.not_before_ms);
        let may_ask = self.syncs < MAX_SYNCS;
        let paused = self
            .behind
            .iter()
            .filter_map(|it| self.timelines.get(it))
            .map(|it| it.ask.not_before_ms)
            .filter(|_| may_ask);
        inbox.into_iter().chain(paused).filter(|it| *it > now_ms).min()
    }

    /// A question that has no answer, to be asked again after `pause_ms` from now at the earliest.
    pub(crate) fn failed(&mut self, question: Question, not_before_ms: u64) {
        match question {
            Question::Inbox(_) => {
                self.inbox.open = false;
                self.inbox.wanted = true;
                self.inbox.not_before_ms = not_before_ms;
            }
            Question::Sync(ranges) => {
                self.syncs -= 1;
                for range in ranges {
                    self.unanswered(&range.conversation_id, not_before_ms);
                }
            }
            Question::Snapshot {
                conversation_id, ..
            } => {
                self.snapshots -= 1;
                self.unanswered(&conversation_id, not_before_ms);
            }
        }
    }

    /// A whole question was refused.
    pub(crate) fn refused(&mut self, question: Question, refusal: &Refusal, now_ms: u64) {
        match &question {
            Question::Inbox(_) => {
                self.inbox.refusals = self.inbox.refusals.saturating_add(1);
                // Whatever is wrong with the token, without one the answer is complete.
                if !refusal.is_retryable() {
                    self.inbox.token = String::new();
                }
                let at = now_ms + pause(refusal, self.inbox.refusals);
                self.failed(question, at);
            }
            Question::Sync(ranges) => {
                let ranges = ranges.clone();
                self.syncs -= 1;
                for range in ranges {
                    self.refused_one(&range.conversation_id, refusal, now_ms);
                }
            }
            Question::Snapshot {
                conversation_id, ..
            } => {
                self.snapshots -= 1;
                self.refused_one(conversation_id, refusal, now_ms);
            }
        }
    }

    fn refused_one(&mut self, conversation_id: &str, refusal: &Refusal, now_ms: u64) {
        let timeline = self.timeline(conversation_id);
        timeline.ask.vain = timeline.ask.vain.saturating_add(1);
        let at = now_ms + pause(refusal, timeline.ask.vain);
        if refusal.is_retryable() {
            timeline.unanswered(at);
        } else if timeline.ask.limit > 1 && is_about_size(refusal) {
            timeline.ask.limit /= 4;
            timeline.unanswered(at);
        } else {
            timeline.close();
            self.queue.push(Event::Unreadable {
                conversation_id: conversation_id.to_owned(),
                refusal: refusal.clone(),
            });
        }
        self.enqueue(conversation_id);
    }

    fn unanswered(&mut self, conversation_id: &str, not_before_ms: u64) {
        self.timeline(conversation_id).unanswered(not_before_ms);
        self.enqueue(conversation_id);
    }

    /// A page of the inbox.
    pub(crate) fn inbox_page(&mut self, page: SyncInboxResponse) {
        self.inbox.open = false;
        self.inbox.refusals = 0;
        self.inbox.token.clone_from(&page.token);
        self.inbox.wanted = page.has_more || std::mem::take(&mut self.inbox.again);
        for entry in page.entries {
            if let Some(conversation) = &entry.conversation
                && !conversation.conversation_id.is_empty()
            {
                let conversation_id = conversation.conversation_id.clone();
                self.timeline(&conversation_id).name_head(entry.head_seq);
                self.enqueue(&conversation_id);
            }
            self.queue.push(Event::InboxChanged(Box::new(entry)));
        }
        self.queue.push_inbox_token(page.token);
        if !page.has_more {
            self.queue.push(Event::InboxSynced);
        }
    }

    /// The answer to a sync. What it leaves out is asked for again.
    pub(crate) fn sync_answered(&mut self, asked: Vec<Range>, results: Vec<RangeResult>, now_ms: u64) {
        self.syncs -= 1;
        let mut results: HashMap<String, RangeResult> = results
            .into_iter()
            .map(|it| (it.conversation_id.clone(), it))
            .collect();
        for range in asked {
            let Some(result) = results.remove(&range.conversation_id) else {
                self.unanswered(&range.conversation_id, now_ms + SHORTEST_PAUSE_MS);
                continue;
            };
            match result.error {
                Some(error) => self.refused_one(&range.conversation_id, &error.into(), now_ms),
                None => self.range_answered(&range, result, now_ms),
            }
        }
    }

    fn range_answered(&mut self, range: &Range, result: RangeResult, now_ms: u64) {
        let conversation_id = &range.conversation_id;
        let events: Vec<ConversationEvent> = result
            .events
            .into_iter()
            .filter_map(|it| ConversationEvent::decode(it, Via::Sync).ok())
            .filter(|it| it.header.conversation_id == *conversation_id)
            .collect();
        if result.floor_seq > range.after_seq + 1 {
            self.observer.floor(conversation_id, result.floor_seq);
        }
        events.iter().for_each(|it| self.observer.arrived(it));
        self.observer.synced(&SyncAnswer {
            conversation_id,
            after_seq: range.after_seq,
            to_seq: events.last().map_or(range.after_seq, |it| it.header.seq),
            head_seq: result.head_seq,
            events: events.len(),
        });
        let timeline = self.timeline(conversation_id);
        let answered = timeline.answer(
            range.after_seq,
            events,
            result.head_seq,
            result.floor_seq,
            result.has_more,
        );
        timeline.ask.not_before_ms = match timeline.ask.vain {
            0 => 0,
            vain => now_ms + doubled(SHORTEST_PAUSE_MS, vain),
        };
        if let Some(floor_seq) = answered.floor {
            self.queue.push(Event::Floor {
                conversation_id: conversation_id.clone(),
                floor_seq,
            });
        }
        self.tell(answered.tell);
        if let Some(seq) = answered.synced_to {
            self.queue.push(Event::SyncedTo {
                conversation_id: conversation_id.clone(),
                seq,
            });
        }
        self.enqueue(conversation_id);
    }

    pub(crate) fn snapshot_answered(&mut self, conversation_id: &str, answer: SnapshotResponse) {
        self.snapshots -= 1;
        self.observer.snapshot(conversation_id, answer.as_of_seq);
        self.queue.push(Event::Snapshot {
            conversation_id: conversation_id.to_owned(),
            as_of_seq: answer.as_of_seq,
            floor_seq: answer.floor_seq,
            messages: answer.messages,
        });
        let timeline = self.timeline(conversation_id);
        timeline.ask.open = false;
        timeline.ask.vain = 0;
        let next = timeline.begin(answer.as_of_seq);
        self.tell(next);
        self.enqueue(conversation_id);
    }

    fn tell(&mut self, events: Vec<ConversationEvent>) {
        for event in events {
            self.queue.push(Event::Conversation(Box::new(event)));
        }
    }

    fn timeline(&mut self, conversation_id: &str) -> &mut Timeline {
        self.timelines
            .entry(conversation_id.to_owned())
            .or_insert_with(|| Timeline::new(crate::cursors::Cursor::default()))
    }

    /// Puts a conversation in line if it is behind.
    fn enqueue(&mut self, conversation_id: &str) {
        if let Some(timeline) = self.timelines.get_mut(conversation_id)
            && !timeline.ask.queued
            && !timeline.ask.open
            && timeline.is_behind()
        {
            timeline.ask.queued = true;
            self.behind.push_back(conversation_id.to_owned());
        }
    }
}

fn pause(refusal: &Refusal, times: u32) -> u64 {
    refusal.retry_after.map_or_else(
        || doubled(SHORTEST_PAUSE_MS, times),
        |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX / 2),
    )
}

fn doubled(shortest_ms: u64, times: u32) -> u64 {
    (shortest_ms << times.min(12)).min(LONGEST_PAUSE_MS)
}

/// An answer of so many events would be too large.
fn is_about_size(refusal: &Refusal) -> bool {
    use flare_proto::common::ErrorCode;
    matches!(
        refusal.code,
        ErrorCode::LimitExceeded | ErrorCode::FrameTooLarge | ErrorCode::ContentTooLarge
    )
}

#[cfg(test)]
mod tests;
