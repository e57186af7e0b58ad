//! What is read: the inbox and all conversations, and what to ask the server for.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use flare_proto::client::SyncHint;

use crate::{
    cursors::Cursors,
    event::{ConversationEvent, Event},
    observer::Observer,
    options::FirstSight,
    queue::EventQueue,
    timeline::{Offered, Timeline},
};

mod answers;

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
    Snapshot {
        conversation_id: String,
        messages: u32,
    },
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

    pub(crate) fn hinted(&mut self, hint: &SyncHint) {
        if hint.conversation_ids.is_empty() {
            self.observer.sync_hint(None);
            self.want_inbox();
            return;
        }
        let heads = hint.head_seqs.iter().copied().chain(std::iter::repeat(0));
        for (conversation_id, head_seq) in hint.conversation_ids.iter().zip(heads) {
            self.observer.sync_hint(Some(conversation_id));
            let timeline = self.timeline(conversation_id);
            match head_seq {
                0 => timeline.hint(),
                head_seq => timeline.name_head(head_seq),
            }
            self.enqueue(conversation_id);
        }
    }

    /// The device shows it from now on: what came before is asked for.
    pub(crate) fn look_at(&mut self, conversation_id: &str) {
        if !self.queue.has_reader() {
            return;
        }
        self.timeline(conversation_id).hint();
        self.enqueue(conversation_id);
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
                        let messages = wanted
                            .min(timeline.ask.limit)
                            .clamp(1, self.max_page.max(1));
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
            let limit = timeline
                .ask
                .limit
                .min(SYNC_LIMIT)
                .clamp(1, self.max_page.max(1));
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
        inbox
            .into_iter()
            .chain(paused)
            .filter(|it| *it > now_ms)
            .min()
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
