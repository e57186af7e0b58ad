//! Events on their way to their consumer: a bounded queue that knows what the consumer is done with.

use std::{
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::{Stream, task::AtomicWaker};
use tokio::sync::Notify;

use crate::{cursors::Cursors, event::Event};

/// What a waiting event without contents counts for, in bytes.
const EVENT_COST: usize = 256;

/// One end each for the client's task and for the consumer.
#[derive(Debug)]
pub(crate) struct EventQueue {
    max_events: usize,
    max_bytes: usize,
    state: Mutex<State>,
    readable: AtomicWaker,
    /// The consumer is done with something, has made room, or is gone.
    pub(crate) consumed: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// Consumed and not yet acknowledged to the server.
    positions: BTreeMap<String, u64>,
    ended: bool,
    reader_gone: bool,
}

#[derive(Debug)]
enum Item {
    Event(Event),
    /// Everything up to this token of the inbox stands before it.
    InboxToken(String),
}

impl EventQueue {
    pub(crate) fn new(max_events: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_events,
            max_bytes,
            state: Mutex::default(),
            readable: AtomicWaker::new(),
            consumed: Notify::new(),
        })
    }

    /// Whether what can be had again later should be queued.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.lock();
        !state.reader_gone && state.items.len() < self.max_events && state.bytes < self.max_bytes
    }

    /// Whether to ask for more: not until the consumer has made some room, so that what is asked for is worth the asking.
    pub(crate) fn wants_more(&self) -> bool {
        let state = self.lock();
        !state.reader_gone && !self.is_half_full(&state)
    }

    fn is_half_full(&self, state: &State) -> bool {
        state.items.len() >= self.max_events.div_ceil(2)
            || state.bytes >= self.max_bytes.div_ceil(2)
    }

    pub(crate) fn has_reader(&self) -> bool {
        !self.lock().reader_gone
    }

    /// Queues an event, whether there is room or not: the caller has asked before, or cannot have it again.
    pub(crate) fn push(&self, event: Event) {
        let mut state = self.lock();
        if state.reader_gone || state.ended {
            return;
        }
        if state.items.len() >= self.max_events {
            state.fold_connection_changes(&event);
        }
        state.bytes += cost(&event);
        state.items.push_back(Item::Event(event));
        drop(state);
        self.readable.wake();
    }

    pub(crate) fn push_inbox_token(&self, token: String) {
        let mut state = self.lock();
        if !state.reader_gone {
            state.items.push_back(Item::InboxToken(token));
        }
        drop(state);
        self.readable.wake();
    }

    /// Nothing follows.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.readable.wake();
    }

    /// Positions that were consumed since the last call.
    pub(crate) fn take_positions(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.lock().positions)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// While nobody consumes, connections may come and go for ever: of several in a row the last counts.
    fn fold_connection_changes(&mut self, next: &Event) {
        let last = |back: usize, items: &VecDeque<Item>| {
            items.iter().rev().nth(back).map(|it| match it {
                Item::Event(Event::Connected(_)) => 'c',
                Item::Event(Event::Disconnected { .. }) => 'd',
                _ => '-',
            })
        };
        if !matches!(next, Event::Disconnected { .. }) {
            return;
        }
        while last(0, &self.items) == Some('d')
            || last(0, &self.items) == Some('c') && last(1, &self.items) == Some('d')
        {
            if let Some(Item::Event(event)) = self.items.pop_back() {
                self.bytes = self.bytes.saturating_sub(cost(&event));
            }
        }
    }
}

fn cost(event: &Event) -> usize {
    match event {
        Event::Conversation(it) => it.cost(),
        Event::Snapshot { messages, .. } => messages
            .iter()
            .map(|it| it.event.len() + EVENT_COST)
            .sum::<usize>(),
        Event::InboxChanged(it) => it.last_message.len() + EVENT_COST,
        _ => EVENT_COST,
    }
}

/// The events of a client, in order. An event counts as consumed, and is acknowledged to the server, when the next one is asked for.
///
/// A consumer that is slow, or that stops for a while, loses nothing: the client lets the server keep what does not fit, and syncs it later. Dropped, the
/// client goes on to send, and follows no conversations.
#[derive(Debug)]
pub struct Events {
    queue: Arc<EventQueue>,
    cursors: Cursors,
    /// Handed out and not yet consumed.
    position: Option<(String, u64)>,
}

impl Events {
    pub(crate) fn new(queue: Arc<EventQueue>, cursors: Cursors) -> Self {
        Self {
            queue,
            cursors,
            position: None,
        }
    }

    /// The next event; `None` after the client's end. Dropped before it is done, it loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The next event, if one waits.
    pub fn try_next(&mut self) -> Option<Event> {
        self.settle();
        self.take().flatten()
    }

    /// How far the events that were handed out go: to be kept once the last of them is dealt with, and given to a later run as [`crate::Options::cursors`].
    pub fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.settle();
        if let Some(taken) = self.take() {
            return Poll::Ready(taken);
        }
        self.queue.readable.register(cx.waker());
        // Between the look and the registration something may have come.
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn settle(&mut self) {
        if let Some((conversation_id, seq)) = self.position.take() {
            let mut state = self.queue.lock();
            let is_first = state.positions.is_empty();
            state.positions.insert(conversation_id, seq);
            drop(state);
            if is_first {
                self.queue.consumed.notify_one();
            }
        }
    }

    /// `None`: nothing waits; `Some(None)`: nothing will.
    fn take(&mut self) -> Option<Option<Event>> {
        let mut state = self.queue.lock();
        let was_half_full = self.queue.is_half_full(&state);
        loop {
            match state.items.pop_front() {
                Some(Item::InboxToken(token)) => self.cursors.inbox_token = token,
                Some(Item::Event(event)) => {
                    state.bytes = state.bytes.saturating_sub(cost(&event));
                    let is_half_full = self.queue.is_half_full(&state);
                    drop(state);
                    if was_half_full && !is_half_full {
                        self.queue.consumed.notify_one();
                    }
                    self.cursors.consume(&event);
                    self.position = match &event {
                        Event::Conversation(it) => {
                            Some((it.header.conversation_id.clone(), it.header.seq))
                        }
                        Event::Snapshot {
                            conversation_id,
                            as_of_seq,
                            ..
                        } if *as_of_seq > 0 => Some((conversation_id.clone(), *as_of_seq)),
                        _ => None,
                    };
                    return Some(Some(event));
                }
                None if state.ended => return Some(None),
                None => return None,
            }
        }
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.reader_gone = true;
        state.items.clear();
        state.bytes = 0;
        drop(state);
        self.queue.consumed.notify_one();
    }
}
