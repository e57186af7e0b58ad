//! One of those who keep a server busy while it is killed, or for long, in a process of its own. It is told what to do line by line, and ends with its standard input.

mod hosting;
mod reading;
mod visiting;
mod writing;

use std::{collections::HashMap, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use flare_checker::{ClientEvent, Target as Meant};
use flare_core_sdk::{CallError, Codec, Target, TokenSource};
use flare_proto::common::ErrorCode;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use crate::{
    authority::trust,
    person::{Device, Person},
    recorder::Recorder,
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
    pub(crate) ca: Option<PathBuf>,
    pub(crate) token: String,
    pub(crate) user: String,
    pub(crate) device: String,
    pub(crate) history: PathBuf,
    pub(crate) work: Work,
    pub(crate) seed: u64,
}

/// What a worker does until it is told to settle.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Writes to these in turns.
    Write(Vec<Address>),
    /// Reads all that comes, moves its read positions, turns pages, and goes away now and then.
    Read,
    /// Owns these groups, and changes who belongs to them and as what.
    Host {
        groups: Vec<String>,
        /// Who comes and goes.
        guests: Vec<String>,
        /// Who is an admin and then a member again.
        ranked: Vec<String>,
    },
    /// Comes to these groups and goes, and tries everything in and outside of them.
    Visit(Vec<String>),
}

/// How often what was done, beside what histories tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Read positions moved.
    pub(crate) marks: u64,
    /// Pages of history turned by a member.
    pub(crate) pages: u64,
    /// Members taken in, by a call that was answered.
    pub(crate) taken_in: u64,
    /// Members removed likewise.
    pub(crate) removed: u64,
    /// Members who left by themselves likewise.
    pub(crate) left: u64,
    /// Roles changed likewise.
    pub(crate) roles: u64,
    /// Messages, pages and read positions that were refused to one who did not belong.
    pub(crate) kept_out: u64,
    /// Said to be typing.
    pub(crate) typing: u64,
    /// Calls of which it is not known whether they were done.
    pub(crate) unknown: u64,
    /// Went away and came back.
    pub(crate) returns: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.marks += other.marks;
        self.pages += other.pages;
        self.taken_in += other.taken_in;
        self.removed += other.removed;
        self.left += other.left;
        self.roles += other.roles;
        self.kept_out += other.kept_out;
        self.typing += other.typing;
        self.unknown += other.unknown;
        self.returns += other.returns;
    }
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
    /// Write no more; answered by [`Answer::Settled`] when everything has its receipt. Nor change anything.
    Settle,
    /// Read up to these heads, claim to have everything, and end; answered by [`Answer::Done`].
    Finish(HashMap<String, u64>),
}

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// So many receipts by now in all, or so much read or done.
    Progress(u64),
    Settled,
    Done(Tally),
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

/// What came of a call to a server that may be killed meanwhile.
enum Outcome<T> {
    Done(T),
    Refused(ErrorCode),
    /// Whether it was done is not known.
    Open,
}

impl<T> Outcome<T> {
    /// Fails for what no server may bring about.
    fn of(result: Result<T, CallError>) -> anyhow::Result<Self> {
        match result {
            Ok(answer) => Ok(Self::Done(answer)),
            Err(CallError::Refused { refusal, .. }) if !refusal.is_retryable() => {
                Ok(Self::Refused(refusal.code))
            }
            Err(CallError::Refused { .. } | CallError::TimedOut { .. }) => Ok(Self::Open),
            Err(error) => Err(error.into()),
        }
    }
}

async fn work(task: Task) -> anyhow::Result<()> {
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let is_continued = task.history.exists();
    let unanswered = match &task.work {
        Work::Write(targets) => Some(writing::unanswered(&task, targets)?),
        _ => None,
    };
    let device = Device {
        url: task.url.clone(),
        trust: trust(task.ca.as_deref())?,
        user: task.user.clone(),
        device: task.device.clone(),
        token: TokenSource::Fixed(task.token.clone()),
        codec: Codec::Proto,
    };
    let recorder = Recorder::open(&task.history, &task.user, &task.device)?;
    if is_continued {
        recorder.write(ClientEvent::Disconnected);
    }
    let mut person = Person::arrive(device, recorder);
    let mut tally = Tally::default();
    match (&task.work, unanswered) {
        (Work::Write(targets), unanswered) => {
            let before = unanswered.unwrap_or_default();
            writing::write(&task, targets, &person, before, &mut orders).await?;
        }
        (Work::Read, _) => person = reading::read(&task, person, &mut tally, &mut orders).await?,
        (
            Work::Host {
                groups,
                guests,
                ranked,
            },
            _,
        ) => {
            let house = hosting::House {
                groups,
                guests,
                ranked,
            };
            house.host(&task, &person, &mut tally, &mut orders).await?;
        }
        (Work::Visit(groups), _) => {
            person = visiting::visit(&task, groups, person, &mut tally, &mut orders).await?;
        }
    }
    say(&Answer::Settled)?;
    let Order::Finish(heads) = next_order(&mut orders).await? else {
        bail!("told to settle twice")
    };
    person.in_step().await?;
    // Where it no longer belongs it is told nothing more.
    let belongs = person.look(|view| view.memberships(person.user()));
    for (conversation, head) in heads {
        if belongs.contains(&conversation) {
            person.reads_to(&conversation, head).await?;
        }
    }
    person.in_step().await?;
    match &task.work {
        Work::Read => reading::nothing_is_unread(&person).await?,
        Work::Host { groups, .. } => hosting::rosters_agree(&person, groups).await?,
        Work::Write(_) | Work::Visit(_) => {}
    }
    person.claims_all().await?;
    say(&Answer::Done(tally))
}
