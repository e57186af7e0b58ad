//! Writes to some in turns, and after its own death goes on with what had no answer.

use std::collections::{HashMap, HashSet, VecDeque};

use anyhow::{anyhow, bail, ensure};
use flare_checker::{ClientEvent, HistoryReader, Intent, body_hash};
use flare_core_sdk::{Draft, SendError, Sending, Sent};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{MissedTickBehavior, interval};

use super::{Address, Answer, BURST_EVERY, Order, Orders, Task, WINDOW, next_order, say};
use crate::{person::Person, raw};

/// Writes until it is told to settle, then waits for the receipts.
pub(super) async fn write(
    task: &Task,
    targets: &[Address],
    person: &Person,
    before: Unanswered,
    orders: &mut Orders,
) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(task.seed);
    let mut open: VecDeque<Sending> = VecDeque::new();
    // First what an earlier life of this process left without an answer, under the same client ids.
    for (number, client_id) in before.commands {
        let (to, content) = message(task, targets, number);
        open.push_back(
            person
                .client()
                .send(Draft::encoded(to.target(), content.into()).with_client_id(client_id)),
        );
    }
    let mut acked = 0;
    let mut number = before.next;
    let mut settles = false;
    let mut bursts = interval(BURST_EVERY);
    bursts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !settles || !open.is_empty() {
        tokio::select! {
            _ = bursts.tick(), if !settles && open.len() < WINDOW => {
                for _ in 0..rng.random_range(1..=WINDOW - open.len()) {
                    let (to, content) = message(task, targets, number);
                    number += 1;
                    open.push_back(person.client().send(Draft::encoded(to.target(), content.into())));
                }
            }
            sent = first(&mut open), if !open.is_empty() => {
                sent?;
                open.pop_front();
                acked += 1;
                say(&Answer::Progress(acked))?;
            }
            order = next_order(orders), if !settles => match order? {
                Order::Settle => settles = true,
                Order::Finish(_) => bail!("told to finish before it has settled"),
            },
        }
    }
    Ok(())
}

/// The oldest message's receipt.
pub(super) async fn first(open: &mut VecDeque<Sending>) -> Result<Sent, SendError> {
    match open.front_mut() {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

/// The `number`th message of a writer: the same in each of its lives.
fn message<'a>(task: &Task, targets: &'a [Address], number: u64) -> (&'a Address, Vec<u8>) {
    let turn = usize::try_from(number).unwrap_or_default() % targets.len();
    (
        &targets[turn],
        raw::text(&format!("{} {} {number}", task.user, task.device)),
    )
}

/// What an earlier life of this process left.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// Number and client id, in the order in which they were sent first.
    commands: Vec<(u64, String)>,
    /// The first number that was not used.
    next: u64,
}

pub(super) fn unanswered(task: &Task, targets: &[Address]) -> anyhow::Result<Unanswered> {
    if !task.history.exists() {
        return Ok(Unanswered::default());
    }
    let mut intents: Vec<Intent> = Vec::new();
    let mut settled = HashSet::new();
    let mut known = HashSet::new();
    for record in HistoryReader::open(&task.history)? {
        match record?.event {
            ClientEvent::Intent(it) if known.insert(it.client_id.clone()) => intents.push(it),
            ClientEvent::Acked(it) => {
                settled.insert(it.client_id);
            }
            ClientEvent::Refused(it) if !it.retryable => {
                settled.insert(it.client_id);
            }
            _ => {}
        }
    }
    let most = intents.len() + WINDOW;
    let numbers: HashMap<String, u64> = (0..most as u64)
        .map(|it| (body_hash(&message(task, targets, it).1), it))
        .collect();
    let mut left = Unanswered::default();
    for intent in intents {
        let number = *numbers
            .get(&intent.body_hash)
            .ok_or_else(|| anyhow!("{intent:?} is none of this writer's messages"))?;
        ensure!(
            message(task, targets, number).0.meant() == intent.target,
            "{intent:?} went elsewhere"
        );
        left.next = left.next.max(number + 1);
        if !settled.contains(&intent.client_id) {
            left.commands.push((number, intent.client_id));
        }
    }
    Ok(left)
}
