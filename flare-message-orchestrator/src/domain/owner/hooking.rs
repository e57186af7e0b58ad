//! The PreSend hooks: one message of a line after the other, between authorisation and decision.

use super::{HookVerdict, Output, Owner, knowledge::lacks_at};
use crate::domain::{command::Action, decide::is_hooked, lines::Hooked, rules};

impl Owner {
    /// Asks the hooks for the first command of the line that they have not seen, if all before it have passed.
    pub(super) fn start_hooks(&mut self, number: u64) {
        let Some(line) = self.lines.get_mut(number) else {
            return;
        };
        let Some(position) = line
            .queue
            .iter()
            .position(|it| is_hooked(&it.command) && it.hooked != Hooked::Passed)
        else {
            return;
        };
        let Some((lacks, id_known)) = lacks_at(&self.memory, line, position) else {
            return;
        };
        let (membership, key) = (line.membership, line.key.conversation.clone());
        let Some(pending) = line.queue.get_mut(position) else {
            return;
        };
        // A repetition gets its first receipt, and what is not allowed is refused in its turn.
        let passes = lacks.nothing()
            && pending.hooked == Hooked::No
            && !id_known
            && self.memory.head(&key).is_some_and(|head| {
                rules::may_take_part(&pending.command, head, membership).is_ok()
            });
        if passes {
            pending.hooked = Hooked::Asked;
            let (arrival, command) = (pending.arrival, Box::new(pending.command.clone()));
            let hook = self.request();
            self.hooks.insert(hook, (number, arrival));
            self.out.push(Output::AskHooks { hook, command });
        }
    }

    pub(super) fn hooks_answered(&mut self, asked: u64, verdict: HookVerdict) {
        let Some((number, arrival)) = self.hooks.remove(&asked) else {
            return;
        };
        let Some(position) = self.lines.get(number).and_then(|it| it.position(arrival)) else {
            return;
        };
        if let HookVerdict::Stop(refusal) = verdict {
            self.refuse_in_line(number, position, refusal);
            self.prepare(number);
            self.close_line(number);
            return;
        }
        if let Some(pending) = self.find(number, arrival) {
            pending.hooked = Hooked::Passed;
            if let HookVerdict::Amended {
                body,
                content,
                mentions,
                mention_all,
            } = verdict
            {
                pending.command.body = body;
                pending.command.action = Action::Send {
                    content,
                    mentions,
                    mention_all,
                };
            }
        }
        self.prepare(number);
    }
}
