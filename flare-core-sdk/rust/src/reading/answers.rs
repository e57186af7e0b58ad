//! What the server answers, and what follows from it.

use std::collections::HashMap;

use flare_proto::{
    common::ErrorCode,
    session::SyncInboxResponse,
    storage::{RangeResult, SnapshotResponse},
};

use super::{Question, Range, Reading};
use crate::{
    error::Refusal,
    event::{ConversationEvent, Event, Via},
    observer::SyncAnswer,
};

/// The pause after an answer that brought nothing new though more is known of, in milliseconds; doubles with each.
const SHORTEST_PAUSE_MS: u64 = 20;
/// The longest such pause.
const LONGEST_PAUSE_MS: u64 = 5_000;

impl Reading {
    /// A question that has no answer, to be asked again at `not_before_ms` or later.
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
    pub(crate) fn sync_answered(
        &mut self,
        asked: Vec<Range>,
        results: Vec<RangeResult>,
        now_ms: u64,
    ) {
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
        timeline.ask.grow();
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
    matches!(
        refusal.code,
        ErrorCode::LimitExceeded | ErrorCode::FrameTooLarge | ErrorCode::ContentTooLarge
    )
}
