//! From the users to an owner and back.

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
        if self.gateway.stream.is_none() {
            let Some(stream) = self.new_stream() else {
                return;
            };
            self.gateway.begin(stream);
        }
        if !self.gateway.has_next() {
            return;
        }
        let count = self.rng.random_range(1..=6);
        let (commands, held) = self.gateway.batch(count);
        for (taken, refusal) in held {
            self.settled(&taken, Err(refusal));
        }
        if let (Some(stream), false) = (self.gateway.stream, commands.is_empty()) {
            self.step(stream.seat, Input::Commands(commands));
        }
    }

    /// A stream to an owner who should have the partition; where several believe it, to any of them.
    fn new_stream(&mut self) -> Option<Stream> {
        let assigned: Vec<usize> = (0..self.seats.len())
            .filter(|it| self.seats[*it].assigned)
            .collect();
        if assigned.is_empty() {
            return None;
        }
        let seat = assigned[self.rng.random_range(0..assigned.len())];
        self.last_stream += 1;
        Some(Stream {
            seat,
            life: self.seats[seat].life,
            id: self.last_stream,
        })
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
        if self
            .gateway
            .stream
            .is_none_or(|stream| stream.id != origin.stream)
        {
            return;
        }
        if result
            .as_ref()
            .is_err_and(|refusal| refusal.code == ErrorCode::NotOwner)
        {
            self.gateway.disowned(origin.correlation);
            return self.end_stream();
        }
        if let Some(taken) = self.gateway.settle(origin.correlation) {
            self.settled(&taken, result);
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
        if let Some(stream) = self.new_stream() {
            self.session_stream = Some(stream);
            command.origin = Origin {
                stream: stream.id,
                ..Origin::default()
            };
            self.step(stream.seat, Input::Commands(vec![command]));
        }
    }

    pub(super) fn break_stream(&mut self) {
        if self.gateway.stream.is_some() {
            self.bites.broken_streams += 1;
            self.end_stream();
        }
    }

    /// The owner says that the stream's order is lost.
    pub(super) fn stream_ended(&mut self, id: u64) {
        if self.gateway.stream.is_some_and(|stream| stream.id == id) {
            self.end_stream();
        }
    }

    pub(super) fn end_stream(&mut self) {
        let (stream, open) = self.gateway.end();
        self.over.extend(stream);
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
