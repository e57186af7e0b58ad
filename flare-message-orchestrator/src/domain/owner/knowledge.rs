//! What must be known before a command can be decided: asked of store, session and hooks in batches, and taken in when it comes.

use std::{sync::Arc, time::Duration};

use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;

use super::{Output, Owner, ReadAnswer, ReadRequest};
use crate::domain::{
    command::{Action, Membership},
    decide::{Lacks, lacks},
    lines::{Hooked, Line, Read},
    memory::{IdsSeen, Memory},
};

/// Heads, ids and messages of one read, each.
const READ_BATCH: usize = 1_000;
/// Memberships of one question.
const ASK_BATCH: usize = 500;
/// First questions under way at the same time: what comes meanwhile makes the next batch.
const FIRST_ASKS: usize = 4;
const RETRY_SOON: Duration = Duration::from_millis(500);

/// What is to be asked for.
#[derive(Debug, Default)]
pub(super) struct Wants {
    heads: Vec<ConversationKey>,
    /// Line and arrival.
    ids: Vec<(u64, u64)>,
    /// Line and arrival.
    targets: Vec<(u64, u64)>,
    /// Lines.
    memberships: Vec<u64>,
}

impl Wants {
    fn needs_no_read(&self) -> bool {
        self.heads.is_empty() && self.ids.is_empty() && self.targets.is_empty()
    }
}

/// What the store is being asked.
#[derive(Debug, Default)]
pub(super) struct ReadBatch {
    pub(super) heads: Vec<ConversationKey>,
    pub(super) ids: Vec<(u64, u64)>,
    pub(super) targets: Vec<(u64, u64)>,
}

/// What the session is being asked.
#[derive(Debug)]
pub(super) struct Ask {
    attempt: u32,
    pub(super) lines: Vec<u64>,
}

/// What the command lacks, and whether its id is known.
pub(super) fn lacks_at(memory: &Memory, line: &Line, position: usize) -> Option<(Lacks, bool)> {
    let pending = line.queue.get(position)?;
    let id_known = memory.id(pending.id, pending.ids_seen).is_some();
    let head = memory.head(&line.key.conversation);
    Some((
        lacks(pending, line.membership, id_known, head, memory),
        id_known,
    ))
}

impl Owner {
    /// A command stands at the end of the line.
    pub(super) fn arrived(&mut self, number: u64) {
        let Some(line) = self.lines.get_mut(number) else {
            return;
        };
        let last = line.queue.len() - 1;
        if line.in_flight == 0 && last == 0 && line.membership.is_some_and(|it| !it.is_permission())
        {
            // Refusals hold for those who were there when the session was asked.
            line.membership = None;
        }
        if last > 0 {
            self.want(number, last);
        }
        self.prepare(number);
    }

    /// Makes the first command of the line ready: asks for what it lacks, or puts the line up for the next group.
    pub(super) fn prepare(&mut self, number: u64) {
        if !self.config.hooks && self.lines.get(number).is_none_or(|it| it.scheduled) {
            // Whatever it lacks by then, its turn will show.
            return;
        }
        let lacks = self.want(number, 0);
        if self.config.hooks {
            self.start_hooks(number);
        }
        if lacks.is_some_and(Lacks::nothing)
            && let Some(line) = self.lines.get_mut(number)
            && !line.scheduled
            && line
                .queue
                .front()
                .is_some_and(|it| it.hooked != Hooked::Asked)
        {
            line.scheduled = true;
            self.ready.push_back(number);
        }
    }

    /// Notes what a command lacks for the next questions.
    fn want(&mut self, number: u64, position: usize) -> Option<Lacks> {
        let line = self.lines.get_mut(number)?;
        let (lacks, id_known) = lacks_at(&self.memory, line, position)?;
        if lacks.head && !line.awaits_head {
            line.awaits_head = true;
            let key = &line.key.conversation;
            match self.head_waits.get_mut(key) {
                Some(waits) => waits.push(number),
                None => {
                    self.head_waits.insert(key.clone(), vec![number]);
                    self.wants.heads.push(key.clone());
                }
            }
        }
        if lacks.membership && line.asked == 0 {
            line.asked = 1;
            self.wants.memberships.push(number);
        }
        let pending = line.queue.get_mut(position)?;
        if !id_known {
            pending.ids_seen = self.memory.ids_seen();
        }
        if lacks.id && pending.id_read == Read::No {
            pending.id_read = Read::Asked;
            self.wants.ids.push((number, pending.arrival));
        }
        if lacks.target && pending.target_read == Read::No {
            pending.target_read = Read::Asked;
            self.wants.targets.push((number, pending.arrival));
        }
        Some(lacks)
    }

    /// Puts the questions that are noted.
    pub(super) fn ask(&mut self) {
        self.ask_store();
        while !self.wants.memberships.is_empty()
            && self.asks.values().filter(|it| it.attempt == 1).count() < FIRST_ASKS
        {
            let count = self.wants.memberships.len().min(ASK_BATCH);
            let lines = self.wants.memberships.drain(..count).collect();
            self.ask_session(1, lines);
        }
    }

    fn ask_session(&mut self, attempt: u32, mut lines: Vec<u64>) {
        lines.retain(|it| self.lines.get(*it).is_some());
        if lines.is_empty() {
            return;
        }
        let items = lines
            .iter()
            .filter_map(|it| self.lines.get(*it))
            .map(|it| (it.key.conversation.clone(), Arc::clone(&it.key.sender)))
            .collect();
        let ask = self.request();
        self.asks.insert(ask, Ask { attempt, lines });
        self.out.push(Output::Authorise {
            ask,
            attempt,
            items,
        });
    }

    fn ask_store(&mut self) {
        while self.reading.is_none() && !self.wants.needs_no_read() {
            self.read_next();
        }
    }

    fn read_next(&mut self) {
        let wants = &mut self.wants;
        fn take<T>(from: &mut Vec<T>) -> Vec<T> {
            let count = from.len().min(READ_BATCH);
            from.drain(..count).collect()
        }
        let mut batch = ReadBatch {
            heads: take(&mut wants.heads),
            ids: take(&mut wants.ids),
            targets: take(&mut wants.targets),
        };
        let mut request = ReadRequest {
            heads: batch.heads.clone(),
            ..ReadRequest::default()
        };
        let lines = &self.lines;
        let find = |(line, arrival): (u64, u64)| {
            let line = lines.get(line)?;
            line.queue.get(line.position(arrival)?)
        };
        // What was refused or decided meanwhile needs no answer.
        batch.ids.retain(|it| {
            find(*it)
                .map(|pending| request.ids.push(pending.command.id_key()))
                .is_some()
        });
        batch.targets.retain(|it| {
            let Some(pending) = find(*it) else {
                return false;
            };
            let Action::Recall { seq } = pending.command.action else {
                return false;
            };
            request
                .targets
                .push((pending.command.conversation.clone(), seq));
            true
        });
        if request == ReadRequest::default() {
            return;
        }
        let read = self.request();
        self.reading = Some((read, batch));
        self.out.push(Output::Read { read, request });
    }

    pub(super) fn read_answered(&mut self, asked: u64, answer: Option<ReadAnswer>) {
        let Some((_, batch)) = self.reading.take_if(|(read, _)| *read == asked) else {
            return;
        };
        match answer {
            Some(answer)
                if answer.heads.len() == batch.heads.len()
                    && answer.receipts.len() == batch.ids.len()
                    && answer.targets.len() == batch.targets.len() =>
            {
                self.take_in(batch, answer);
            }
            _ => self.unread(batch),
        }
    }

    fn take_in(&mut self, batch: ReadBatch, answer: ReadAnswer) {
        let as_of = answer.as_of;
        for (key, head) in batch.heads.into_iter().zip(answer.heads) {
            if !self.memory.learn_head(key.clone(), head, as_of) {
                self.wants.heads.push(key);
                continue;
            }
            for number in self.head_waits.remove(&key).unwrap_or_default() {
                if let Some(line) = self.lines.get_mut(number) {
                    line.awaits_head = false;
                }
                self.prepare(number);
            }
        }
        for ((number, arrival), found) in batch.ids.into_iter().zip(answer.receipts) {
            let reaches = self.memory.ids_reach(as_of);
            let absent = found.is_none() && reaches;
            let Some(pending) = self.find(number, arrival) else {
                continue;
            };
            pending.id_read = if absent { Read::Absent } else { Read::No };
            let id = pending.id;
            if let Some(found) = found {
                self.memory.learn_id(id, found);
            }
            self.prepare(number);
        }
        for ((number, arrival), target) in batch.targets.into_iter().zip(answer.targets) {
            let reaches = self.memory.messages_reach(as_of);
            let Some(pending) = self.find(number, arrival) else {
                continue;
            };
            pending.target_read = if target.is_none() && reaches {
                Read::Absent
            } else {
                Read::No
            };
            let Action::Recall { seq } = pending.command.action else {
                continue;
            };
            let key = (pending.command.conversation.clone(), seq);
            if let Some(target) = target {
                self.memory.learn_message(key, target, as_of);
            }
            self.prepare(number);
        }
        // What was read is kept too, be anything placed or not. What a group in flight rests on stays: it forgets when it lands.
        if self.flight.is_none() {
            self.forget_what_is_stored();
        }
    }

    pub(super) fn find(
        &mut self,
        number: u64,
        arrival: u64,
    ) -> Option<&mut crate::domain::lines::Pending> {
        let line = self.lines.get_mut(number)?;
        let position = line.position(arrival)?;
        line.queue.get_mut(position)
    }

    /// The store cannot answer: never a guess.
    fn unread(&mut self, batch: ReadBatch) {
        let refusal = Refusal::unavailable("the message store cannot be read", RETRY_SOON);
        for key in batch.heads {
            for number in self.head_waits.remove(&key).unwrap_or_default() {
                if let Some(line) = self.lines.get_mut(number) {
                    line.awaits_head = false;
                }
                self.refuse_line(number, &refusal);
            }
        }
        for (number, arrival) in batch.ids.into_iter().chain(batch.targets) {
            if let Some(position) = self.lines.get(number).and_then(|it| it.position(arrival)) {
                self.refuse_in_line(number, position, refusal.clone());
                self.prepare(number);
                self.close_line(number);
            }
        }
    }

    pub(super) fn authorised(&mut self, asked: u64, answers: Option<Vec<Membership>>) {
        let Some(Ask { attempt, lines }) = self.asks.remove(&asked) else {
            return;
        };
        let answers = answers.filter(|it| it.len() == lines.len());
        let unavailable = |why: &'static str| Refusal::unavailable(why, RETRY_SOON);
        let mut again = Vec::new();
        for (index, number) in lines.into_iter().enumerate() {
            let membership = answers.as_ref().and_then(|it| it.get(index)).copied();
            let Some(line) = self.lines.get_mut(number) else {
                continue;
            };
            line.asked = 0;
            let Some(membership) = membership else {
                self.refuse_line(number, &unavailable("the session service does not answer"));
                continue;
            };
            line.membership = Some(membership);
            let member_seq = self
                .memory
                .head(&line.key.conversation)
                .and_then(|it| it.member_seq);
            if membership.as_of >= member_seq.unwrap_or_default() {
                self.prepare(number);
            } else if attempt >= self.config.max_authorise_attempts {
                self.refuse_line(
                    number,
                    &unavailable("the session service is behind the conversation"),
                );
            } else {
                line.asked = attempt + 1;
                again.push(number);
            }
        }
        if !again.is_empty() {
            self.ask_session(attempt + 1, again);
        }
    }

    /// The memory began anew: what was read for commands in hand no longer fits it.
    pub(super) fn forget_reads(&mut self) {
        self.drop_questions();
        for number in self.lines.numbers() {
            if let Some(line) = self.lines.get_mut(number) {
                line.awaits_head = false;
                line.asked = 0;
                for pending in &mut line.queue {
                    pending.ask_again();
                    // What the store did not have, it may have by now: the memory begins where its cursor stands.
                    pending.id_read = Read::No;
                    pending.target_read = Read::No;
                    pending.ids_seen = IdsSeen::default();
                }
            }
        }
    }

    /// Answers to what was asked are not waited for any more.
    pub(super) fn drop_questions(&mut self) {
        self.wants = Wants::default();
        self.head_waits.clear();
        self.reading = None;
        self.asks.clear();
        self.hooks.clear();
    }
}
