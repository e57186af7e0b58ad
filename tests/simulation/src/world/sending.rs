//! From the users to an owner and back.

use flare_access_gateway::domain::dispatch::Answer;
use flare_checker::ClientEvent;
use flare_message_orchestrator::owner::{Input, Origin, Placement};
use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use rand::Rng;

use super::World;
use crate::gateway::{Received, Stream, Taken, no_receipt};

impl World {
    pub(super) fn compose(&mut self) {
        let user = self.rng.random_range(0..self.users.len());
        self.users[user].compose(&mut self.rng, self.clock_ms);
    }

    pub(super) fn user_turn(&mut self) {
        let user = self.rng.random_range(0..self.users.len());
        self.leave(user);
    }

    /// What may leave reaches the gateway.
    pub(super) fn leave(&mut self, user: usize) {
        while let Some(leaving) = self.users[user].leave(self.session.versions()) {
            let client = self.users[user].client();
            self.bites.retries += u64::from(matches!(leaving.event, ClientEvent::Resent { .. }));
            self.note(client, leaving.event);
            let client_id = leaving.command.client_id.clone();
            let received =
                self.gateway
                    .receive(user, leaving.command, &leaving.abandons, self.monotonic_ms);
            match received {
                Received::Taken => {}
                Received::Refused(refusal) => self.told(user, &client_id, Err(refusal)),
                Received::Closed(refusal) => {
                    self.told(user, &client_id, Err(refusal));
                    self.disconnect(user);
                }
            }
            if self.faults.reorder && self.rng.random_bool(0.5) {
                // The rest follows later.
                return;
            }
        }
    }

    /// The gateway opens a stream, sends, or gives up what has waited too long.
    pub(super) fn gateway_turn(&mut self) {
        while let Some(taken) = self.gateway.expire(self.monotonic_ms) {
            self.bites.expired += 1;
            self.settled(&taken, Err(no_receipt()));
        }
        self.tell_of_owners();
        let moved = self.gateway.move_on(self.monotonic_ms);
        self.bites.handed_over += moved.over.len() as u64;
        self.over.extend(moved.over);
        self.leave_open(moved.open);
        for (way, seat) in moved.begin {
            let stream = self.new_stream(seat);
            self.gateway.begin(way, stream);
        }
        for (way, stream) in self.gateway.ways() {
            let count = self.rng.random_range(1..=6);
            let (commands, held) = self.gateway.batch(way, count);
            for (taken, refusal) in held {
                self.settled(&taken, Err(refusal));
            }
            if !commands.is_empty() {
                self.step(stream.seat, Input::Commands(commands));
            }
        }
    }

    /// The gateway hears who should have the partition; where several believe it, any of them, and with faults now and then one who does not.
    fn tell_of_owners(&mut self) {
        let is_news = !self.faults.breaks || self.rng.random_bool(0.1);
        if !is_news {
            return;
        }
        if self.faults.breaks && self.rng.random_bool(0.2) {
            let seat = self.rng.random_range(0..=self.seats.len());
            let seat = Some(seat).filter(|it| *it < self.seats.len());
            return self.gateway.tell(seat, self.monotonic_ms);
        }
        let owner = self.an_assigned_seat();
        self.gateway.tell(owner, self.monotonic_ms);
    }

    fn an_assigned_seat(&mut self) -> Option<usize> {
        let assigned: Vec<usize> = (0..self.seats.len())
            .filter(|it| self.seats[*it].assigned)
            .collect();
        if assigned.is_empty() {
            return None;
        }
        Some(assigned[self.rng.random_range(0..assigned.len())])
    }

    fn new_stream(&mut self, seat: usize) -> Stream {
        self.last_stream += 1;
        Stream {
            seat,
            life: self.seats[seat].life,
            id: self.last_stream,
        }
    }

    /// An owner answers.
    pub(super) fn receipt(&mut self, origin: Origin, result: Result<Placement, Refusal>) {
        if self.session_stream.is_some_and(|it| it.id == origin.stream) {
            let stream = self.session_stream.take();
            self.over.extend(stream);
            match self.session.answered(result) {
                Ok(changed) => self.bites.member_changes += u64::from(changed),
                Err(refusal) => self.breaks(format!("a change was refused for good: {refusal}")),
            }
            return;
        }
        let Some(way) = self.gateway.way_of(origin.stream) else {
            return;
        };
        let answer = match &result {
            Err(refusal) if refusal.code == ErrorCode::NotOwner => Answer::NotOwner,
            Err(refusal) if refusal.code == ErrorCode::DeadlineExceeded => Answer::Final,
            Err(refusal) if refusal.is_retryable() => Answer::Refused,
            Ok(_) | Err(_) => Answer::Final,
        };
        let now_ms = self.monotonic_ms;
        let answered = self
            .gateway
            .answered(way, origin.correlation, answer, now_ms);
        if let Some(taken) = answered {
            self.settled(&taken, result);
        } else if answer == Answer::NotOwner {
            self.bites.redirected += 1;
            if self.rng.random_bool(0.3)
                && let Some(seat) = self.an_assigned_seat()
            {
                self.gateway.hint(origin.correlation, seat);
            }
        }
    }

    /// A taken command has its answer: its user hears it, if his connection still stands.
    fn settled(&mut self, taken: &Taken, result: Result<Placement, Refusal>) {
        let told = self.gateway.answer(taken, result.as_ref().err());
        if let Some(client_id) = told {
            self.told(taken.user, &client_id, result);
        }
    }

    fn told(&mut self, user: usize, client_id: &str, result: Result<Placement, Refusal>) {
        match &result {
            Ok(placement) => {
                self.bites.acks += 1;
                self.bites.duplicates += u64::from(placement.duplicate);
                let is_recall = self.users[user].is_recall(client_id);
                self.bites.recalls += u64::from(is_recall);
            }
            Err(refusal) if refusal.is_retryable() => {
                self.bites.retryable_refusals += 1;
                let in_order = refusal.code == ErrorCode::RetryInOrder;
                self.bites.refusals_in_order += u64::from(in_order);
            }
            Err(refusal) => {
                self.bites.final_refusals += 1;
                self.judge(user, client_id, refusal);
            }
        }
        let client = self.users[user].client();
        if let Some(event) = self.users[user].answered(client_id, result) {
            self.note(client, event);
        }
    }

    /// What is refused for good must have been wrong at some moment since it left.
    fn judge(&mut self, user: usize, client_id: &str, refusal: &Refusal) {
        let sender = &self.users[user];
        let group = sender.left_to_group_at(client_id);
        let is_just = match (refusal.code, group) {
            (ErrorCode::ConversationNotFound, Some(versions)) => versions == 1,
            (ErrorCode::NotAMember, Some(versions)) => {
                !self.session.was_member_since(versions, sender.name())
            }
            // Users take back what was placed for them.
            (ErrorCode::ConversationNotFound | ErrorCode::NotAMember, None)
            | (ErrorCode::MessageNotFound | ErrorCode::AlreadyExists, _) => false,
            _ => true,
        };
        if !is_just {
            self.breaks(format!(
                "{client_id} was refused without a reason: {refusal}"
            ));
        }
    }

    pub(super) fn give_up(&mut self) {
        let user = self.rng.random_range(0..self.users.len());
        if let Some(event) = self.users[user].give_up() {
            self.bites.abandons += 1;
            let client = self.users[user].client();
            self.note(client, event);
        }
    }

    pub(super) fn session_turn(&mut self) {
        if let Some(stream) = self.session_stream.take() {
            // Whoever waits for the answer has lost it.
            self.over.push(stream);
        }
        let mut command = self.session.compose(&mut self.rng);
        if let Some(seat) = self.an_assigned_seat() {
            let stream = self.new_stream(seat);
            self.session_stream = Some(stream);
            command.origin = Origin {
                stream: stream.id,
                ..Origin::default()
            };
            self.step(stream.seat, Input::Commands(vec![command]));
        }
    }

    pub(super) fn break_stream(&mut self) {
        let ways = self.gateway.ways();
        if !ways.is_empty() {
            let (way, _) = ways[self.rng.random_range(0..ways.len())];
            self.bites.broken_streams += 1;
            self.end_way(way);
        }
    }

    /// The owner says that the stream's order is lost.
    pub(super) fn stream_ended(&mut self, id: u64) {
        if let Some(way) = self.gateway.way_of(id) {
            self.end_way(way);
        }
    }

    pub(super) fn end_way(&mut self, way: u64) {
        let (stream, open) = self.gateway.end(way, self.monotonic_ms);
        self.over.extend(stream);
        self.leave_open(open);
    }

    fn leave_open(&mut self, open: Vec<Taken>) {
        for taken in open {
            self.bites.left_open += 1;
            self.settled(&taken, Err(no_receipt()));
        }
    }

    /// Owners hear of streams that are over.
    pub(super) fn end_streams(&mut self) {
        for stream in std::mem::take(&mut self.over) {
            if self.seats[stream.seat].life == stream.life {
                self.step(stream.seat, Input::StreamEnded(stream.id));
            }
        }
    }

    pub(super) fn break_connection(&mut self) {
        let user = self.rng.random_range(0..self.users.len());
        self.bites.broken_connections += 1;
        self.disconnect(user);
    }

    fn disconnect(&mut self, user: usize) {
        let client = self.users[user].client();
        self.note(client.clone(), ClientEvent::Disconnected);
        self.gateway.disconnected(user);
        self.users[user].disconnected();
        self.note(client, ClientEvent::Connected);
    }
}
