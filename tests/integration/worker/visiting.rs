//! Comes to groups and goes: inside he does what members do, outside he tries the same.

use std::collections::VecDeque;

use anyhow::bail;
use flare_core_sdk::{SendError, Sending, Target};
use flare_proto::{
    common::ErrorCode,
    storage::{HistoryRequest, history_request::Position},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    Answer, BURST_EVERY, Order, Orders, Outcome, Tally, Task, WINDOW, next_order,
    reading::writes_down, say, writing::first,
};
use crate::{person::Person, view::View};

/// Tries everything, in and outside of the groups, until it is told to settle.
pub(super) async fn visit(
    task: &Task,
    groups: &[String],
    mut person: Person,
    tally: &mut Tally,
    orders: &mut Orders,
) -> anyhow::Result<Person> {
    let mut rng = StdRng::seed_from_u64(task.seed);
    let mut turns = interval(BURST_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open: VecDeque<Sending> = VecDeque::new();
    let (mut said, mut done) = (0_u64, 0);
    let mut settles = false;
    while !settles || !open.is_empty() {
        tokio::select! {
            _ = turns.tick(), if !settles && open.len() < WINDOW => {
                let Some(group) = groups.choose(&mut rng) else {
                    bail!("there is no group to visit")
                };
                match rng.random_range(0..12) {
                    0..6 => {
                        said += 1;
                        let text = format!("{} {} {said}", task.user, task.seed);
                        open.push_back(person.saying(Target::conversation(group), &text));
                    }
                    6 => marks(&person, group, tally).await?,
                    7 | 8 => looks(&person, group, tally).await?,
                    9 => {
                        person.client().typing(group, rng.random());
                        tally.typing += 1;
                    }
                    10 => leaves(&person, group, tally).await?,
                    // What has no receipt would be given up.
                    _ if open.is_empty() => {
                        person = person.leave().await?.back();
                        tally.returns += 1;
                    }
                    _ => {}
                }
                done += 1;
                say(&Answer::Progress(done))?;
            }
            sent = first(&mut open), if !open.is_empty() => {
                open.pop_front();
                match sent {
                    Ok(_) => {}
                    // As if there were no such group, while he has never been there.
                    Err(SendError::Refused { refusal, .. }) if matches!(refusal.code, ErrorCode::NotAMember | ErrorCode::ConversationNotFound) => {
                        tally.kept_out += 1;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            order = next_order(orders), if !settles => match order? {
                Order::Settle => settles = true,
                Order::Finish(_) => bail!("told to finish before it has settled"),
            },
        }
    }
    Ok(person)
}

fn belongs(person: &Person, group: &str) -> bool {
    person.look(|view: &View| view.belongs_to(group, person.user()))
}

/// Counts a call that is only answered to members.
fn count<T>(
    what: &str,
    outcome: Outcome<T>,
    tally: &mut Tally,
    answered: impl FnOnce(&mut Tally, T),
) -> anyhow::Result<()> {
    match outcome {
        Outcome::Done(answer) => answered(tally, answer),
        Outcome::Open => tally.unknown += 1,
        Outcome::Refused(ErrorCode::NotAMember | ErrorCode::ConversationNotFound) => {
            tally.kept_out += 1;
        }
        Outcome::Refused(code) => bail!("{what} was refused: {}", code.as_str_name()),
    }
    Ok(())
}

async fn marks(person: &Person, group: &str, tally: &mut Tally) -> anyhow::Result<()> {
    let read = person.look(|view| view.read_to(group));
    if read == 0 {
        return Ok(());
    }
    let outcome = Outcome::of(person.client().mark_read(group, read).await)?;
    // What he said himself, and is acknowledged, need not be stored yet.
    let is_own = || {
        person.look(|view| {
            let last = view.events.get(group)?.get(&read)?;
            Some(last.sender == person.user())
        })
    };
    if matches!(outcome, Outcome::Refused(ErrorCode::PositionBeyondHead)) && is_own() == Some(true)
    {
        tally.unknown += 1;
        return Ok(());
    }
    count("a read position", outcome, tally, |tally, _| {
        tally.marks += 1
    })
}

/// Inside, the page before what he has read; outside, what came after it, which is not his to read.
async fn looks(person: &Person, group: &str, tally: &mut Tally) -> anyhow::Result<()> {
    let read = person.look(|view| view.read_to(group));
    let position = if belongs(person, group) {
        Position::BeforeSeq(read + 1)
    } else {
        Position::AfterSeq(read)
    };
    let request = HistoryRequest {
        conversation_id: group.to_owned(),
        position: Some(position),
        ..HistoryRequest::default()
    };
    let outcome = Outcome::of(person.client().history(request).await)?;
    count("a page", outcome, tally, |tally, page| {
        writes_down(person, &page);
        tally.pages += 1;
    })
}

async fn leaves(person: &Person, group: &str, tally: &mut Tally) -> anyhow::Result<()> {
    let outcome = Outcome::of(person.client().leave_conversation(group).await)?;
    count("leaving", outcome, tally, |tally, seq| {
        tally.left += u64::from(seq > 0);
    })
}
