//! A writer or a reader in a process of its own, for the kill loop. It is told what to do line by line, and ends with its standard input.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use flare_checker::{ClientEvent, HistoryReader, Intent, Target as Meant, body_hash};
use flare_core_sdk::{Codec, Draft, SendError, Sending, Sent, Target, TokenSource};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines, Stdin},
    time::{MissedTickBehavior, interval},
};

use crate::{
    person::{Device, Person},
    raw,
    recorder::Recorder,
    view::View,
};

/// The first argument of such a process.
pub(crate) const WORD: &str = "worker";
/// Messages without a receipt.
const WINDOW: usize = 8;
/// An answer that is late is waited for no longer than this.
const PATIENCE: Duration = Duration::from_secs(60);
/// So often a writer writes a few messages: the length of a history is a matter of time, not of the machine.
const BURST_EVERY: Duration = Duration::from_millis(60);

/// What a worker is and does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) user: String,
    pub(crate) device: String,
    pub(crate) history: PathBuf,
    /// To whom it writes, in turns; nobody: it only reads.
    pub(crate) targets: Vec<Address>,
    pub(crate) seed: u64,
}

/// Where a message goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Address {
    User(String),
    Conversation(String),
}

impl Address {
    fn target(&self) -> Target {
        match self {
            Self::User(user) => Target::user(user),
            Self::Conversation(conversation) => Target::conversation(conversation),
        }
    }

    fn meant(&self) -> Meant {
        match self {
            Self::User(user) => Meant::User(user.clone()),
            Self::Conversation(conversation) => Meant::Conversation(conversation.clone()),
        }
    }
}

/// What a worker is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Write no more; answered by [`Answer::Settled`] when everything has its receipt.
    Settle,
    /// Read up to these heads, claim to have everything, and end; answered by [`Answer::Done`].
    Finish(HashMap<String, u64>),
}

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// So many receipts by now in all, or so much read.
    Progress(u64),
    Settled,
    Done,
}

/// The process.
pub(crate) fn main(mut words: impl Iterator<Item = String>) -> ExitCode {
    let done = words
        .next()
        .context("a worker's task is missing")
        .and_then(|it| Ok(serde_json::from_str(&it)?));
    let done = done.and_then(|task: Task| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let done = runtime.block_on(work(task));
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn say(answer: &Answer) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(answer)?);
    Ok(())
}

type Orders = Lines<BufReader<Stdin>>;

async fn next_order(orders: &mut Orders) -> anyhow::Result<Order> {
    let line = orders
        .next_line()
        .await?
        .context("whoever gave orders is gone")?;
    Ok(serde_json::from_str(&line)?)
}

async fn work(task: Task) -> anyhow::Result<()> {
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let unanswered = unanswered(&task)?;
    let device = Device {
        url: task.url.clone(),
        user: task.user.clone(),
        device: task.device.clone(),
        token: TokenSource::Fixed(task.token.clone()),
        codec: Codec::Proto,
    };
    let recorder = Recorder::open(&task.history, &task.user, &task.device)?;
    if unanswered.is_continued {
        recorder.write(ClientEvent::Disconnected);
    }
    let mut person = Person::arrive(device, recorder);
    if task.targets.is_empty() {
        person = read(&task, person, &mut orders).await?;
    } else {
        write(&task, &person, unanswered, &mut orders).await?;
    }
    say(&Answer::Settled)?;
    let Order::Finish(heads) = next_order(&mut orders).await? else {
        bail!("told to settle twice")
    };
    for (conversation, head) in heads {
        person.reads_to(&conversation, head).await?;
    }
    person.in_step().await?;
    person.claims_all().await?;
    say(&Answer::Done)
}

/// Writes until it is told to settle, then waits for the receipts.
async fn write(
    task: &Task,
    person: &Person,
    before: Unanswered,
    orders: &mut Orders,
) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(task.seed);
    let mut open: VecDeque<Sending> = VecDeque::new();
    // First what an earlier life of this process left without an answer, under the same client ids.
    for (number, client_id) in before.commands {
        let (to, content) = message(task, number);
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
                    let (to, content) = message(task, number);
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
async fn first(open: &mut VecDeque<Sending>) -> Result<Sent, SendError> {
    match open.front_mut() {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

/// Reads, and now and then goes away for a while, until it is told to settle.
async fn read(task: &Task, mut person: Person, orders: &mut Orders) -> anyhow::Result<Person> {
    let mut rng = StdRng::seed_from_u64(task.seed);
    loop {
        let goal = person.look(View::read_in_all) + rng.random_range(50..400);
        let more = person.sees_within(PATIENCE, "more", |view| {
            (view.read_in_all() >= goal).then_some(())
        });
        tokio::select! {
            more = more => more.with_context(|| format!("nothing came within {PATIENCE:?}"))?,
            order = next_order(orders) => match order? {
                Order::Settle => return Ok(person),
                Order::Finish(_) => bail!("told to finish before it has settled"),
            },
        }
        say(&Answer::Progress(person.look(View::read_in_all)))?;
        person = person.leave().await?.back();
    }
}

/// The `number`th message of a writer: the same in each of its lives.
fn message(task: &Task, number: u64) -> (&Address, Vec<u8>) {
    let turn = usize::try_from(number).unwrap_or_default() % task.targets.len();
    (
        &task.targets[turn],
        raw::text(&format!("{} {} {number}", task.user, task.device)),
    )
}

/// What an earlier life of this process left.
#[derive(Debug, Default)]
struct Unanswered {
    is_continued: bool,
    /// Number and client id, in the order in which they were sent first.
    commands: Vec<(u64, String)>,
    /// The first number that was not used.
    next: u64,
}

fn unanswered(task: &Task) -> anyhow::Result<Unanswered> {
    if !task.history.exists() || task.targets.is_empty() {
        return Ok(Unanswered {
            is_continued: task.history.exists(),
            ..Unanswered::default()
        });
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
        .map(|it| (body_hash(&message(task, it).1), it))
        .collect();
    let mut left = Unanswered {
        is_continued: true,
        ..Unanswered::default()
    };
    for intent in intents {
        let number = *numbers
            .get(&intent.body_hash)
            .ok_or_else(|| anyhow!("{intent:?} is none of this writer's messages"))?;
        anyhow::ensure!(
            message(task, number).0.meant() == intent.target,
            "{intent:?} went elsewhere"
        );
        left.next = left.next.max(number + 1);
        if !settled.contains(&intent.client_id) {
            left.commands.push((number, intent.client_id));
        }
    }
    Ok(left)
}
