//! What owners ask for, and what they are answered.

use std::time::Duration;

use flare_message_orchestrator::owner::{HookVerdict, Input, Output};
use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use rand::Rng;

use super::World;

impl World {
    pub(super) fn answer_somebody(&mut self) {
        let seat = self.rng.random_range(0..self.seats.len());
        let waiting = self.seats[seat].asked.len();
        if waiting > 0 {
            let which = self.rng.random_range(0..waiting);
            self.answer(seat, which);
        }
    }

    pub(super) fn answer(&mut self, seat: usize, which: usize) {
        let fails = self.faults.lossy && self.rng.random_bool(0.03);
        let input = match self.seats[seat].asked.remove(which) {
            Output::ReadCursor { fold } | Output::ReadLog { fold, .. } if fails => {
                Input::FoldFailed { fold }
            }
            Output::ReadCursor { fold } => Input::CursorRead {
                fold,
                cursor: self.store.cursor,
            },
            Output::ReadLog { fold, from } => self.read_log(fold, from),
            Output::BackOff { fold, .. } => Input::BackedOff { fold },
            Output::AwaitTurn => Input::TurnCame,
            Output::Read { read, .. } if fails => Input::ReadAnswered { read, answer: None },
            Output::Read { read, request } => Input::ReadAnswered {
                read,
                answer: Some(self.store.read(&request)),
            },
            Output::Authorise { ask, .. } if fails => Input::Authorised { ask, answers: None },
            Output::Authorise { ask, items, .. } => {
                let ago = self.how_stale();
                let answers = items
                    .iter()
                    .map(|(key, user)| self.session.membership(&key.conversation, user, ago))
                    .collect();
                Input::Authorised {
                    ask,
                    answers: Some(answers),
                }
            }
            Output::AskHooks { hook, .. } => Input::HooksAnswered {
                hook,
                verdict: self.hooks_say(),
            },
            other => {
                return self.breaks(format!("nobody answers {other:?}"));
            }
        };
        self.step(seat, input);
    }

    fn read_log(&mut self, fold: u64, from: u64) -> Input {
        let page = self.rng.random_range(1..=10);
        let there = self.log.records.len() as u64;
        let records: Vec<_> = (0u64..)
            .zip(self.log.records.iter().cloned())
            .skip(usize::try_from(from).unwrap_or(usize::MAX))
            .take(page)
            .collect();
        let at_end = from + records.len() as u64 >= there;
        Input::LogRead {
            fold,
            records,
            at_end,
        }
    }

    /// How many changes ago the session's answer was right.
    fn how_stale(&mut self) -> usize {
        if !self.faults.stale || !self.rng.random_bool(0.2) {
            return 0;
        }
        let ago = self.rng.random_range(0..self.session.versions().min(4));
        self.bites.stale_answers += u64::from(ago > 0);
        ago
    }

    fn hooks_say(&mut self) -> HookVerdict {
        let refusal = match self.rng.random_range(0..100) {
            0..90 => return HookVerdict::Continue,
            90..95 => Refusal::new(ErrorCode::StoppedByHook, "not so"),
            _ if self.faults.lossy => {
                Refusal::unavailable("the hook does not answer", Duration::from_millis(100))
            }
            _ => return HookVerdict::Continue,
        };
        HookVerdict::Stop(refusal)
    }
}
