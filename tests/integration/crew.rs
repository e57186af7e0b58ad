//! Those who keep a server busy with everything at once: who writes, who reads, who hosts and who comes and goes; each a process of its own.

use std::{fs::OpenOptions, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail, ensure};
use flare_proto::message::HistoryVisibility;
use rand::{Rng, rngs::StdRng};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, timeout},
};

use crate::{
    authority::Authority,
    person::Person,
    scene::Scene,
    worker::{self, Address, Answer, Order, Tally, Task, Work},
};

/// A worker that says nothing for as long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many there are of each kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) writers: usize,
    pub(crate) readers: usize,
    pub(crate) guests: usize,
}

/// All workers.
pub(crate) struct Crew {
    folder: std::path::PathBuf,
    writers: Vec<Worker>,
    readers: Vec<Worker>,
    guests: Vec<Worker>,
    host: Worker,
}

impl Crew {
    /// Starts them. `root` makes two groups for them, one whose history is open and one whose history begins with one's joining, and hands them to the host.
    pub(crate) async fn start(
        scene: &Scene,
        root: &Person,
        size: Size,
        rng: &mut StdRng,
    ) -> anyhow::Result<Self> {
        let named = |kind: &str, count: usize| -> Vec<String> {
            (0..count).map(|it| format!("{kind}-{it}")).collect()
        };
        let (writers, readers) = (named("writer", size.writers), named("reader", size.readers));
        let guests = named("guest", size.guests);
        let mut groups = Vec::new();
        for visibility in [HistoryVisibility::All, HistoryVisibility::SinceJoin] {
            let mut members: Vec<&str> = vec!["host"];
            members.extend(writers.iter().chain(&readers).map(String::as_str));
            // Who comes to the open one first has been there before he ever goes.
            if visibility == HistoryVisibility::All {
                members.extend(guests.iter().map(String::as_str));
            }
            let group = root
                .create_group("Mixed load", &members, visibility)
                .await?;
            root.client().transfer_ownership(&group, "host").await?;
            groups.push(group);
        }
        let mut start = async |user: &str, work: Work| -> anyhow::Result<Worker> {
            let history = scene
                .histories_folder()
                .join(format!("worker-{user}.jsonl"));
            scene.add_history(history.clone());
            let task = Task {
                url: scene.server.url()?,
                ca: scene.server.authority().map(Authority::ca),
                token: scene.server.token(user, None).await?,
                user: user.to_owned(),
                device: "process".to_owned(),
                history,
                work,
                seed: rng.random(),
            };
            Worker::start(task, scene.folder())
        };
        let mut crew = Self {
            folder: scene.folder().to_owned(),
            writers: Vec::new(),
            readers: Vec::new(),
            guests: Vec::new(),
            host: start(
                "host",
                Work::Host {
                    groups: groups.clone(),
                    guests: guests.clone(),
                    ranked: readers.clone(),
                },
            )
            .await?,
        };
        for (number, user) in writers.iter().enumerate() {
            let mut targets: Vec<Address> =
                groups.iter().cloned().map(Address::Conversation).collect();
            targets.push(Address::User(readers[number % readers.len()].clone()));
            crew.writers.push(start(user, Work::Write(targets)).await?);
        }
        for user in &readers {
            crew.readers.push(start(user, Work::Read).await?);
        }
        for user in &guests {
            crew.guests
                .push(start(user, Work::Visit(groups.clone())).await?);
        }
        Ok(crew)
    }

    /// Waits until each writer has got so many more receipts, and the host and each guest have done something.
    pub(crate) async fn goes_on(&mut self, receipts: u64) -> anyhow::Result<()> {
        for writer in &mut self.writers {
            writer.goes_on(receipts).await?;
        }
        for other in self.guests.iter_mut().chain([&mut self.host]) {
            other.goes_on(1).await?;
        }
        Ok(())
    }

    /// Takes in what was said so far, so that nobody is held up by a full pipe.
    pub(crate) async fn listen(&mut self) -> anyhow::Result<()> {
        let all = self.writers.iter_mut().chain(&mut self.readers);
        for worker in all.chain(&mut self.guests).chain([&mut self.host]) {
            worker.listen().await?;
        }
        Ok(())
    }

    /// Kills a writer with signal 9; he goes on where he was.
    pub(crate) async fn kills_a_writer(&mut self, rng: &mut StdRng) -> anyhow::Result<()> {
        let at = rng.random_range(0..self.writers.len());
        let reborn = self.writers.swap_remove(at).reborn(&self.folder).await?;
        self.writers.push(reborn);
        let last = self.writers.len() - 1;
        self.writers.swap(at, last);
        Ok(())
    }

    /// Lets all come to rest, read everything and end; what they have done together.
    pub(crate) async fn ends(self, scene: &Scene) -> anyhow::Result<Tally> {
        let mut all = self.writers;
        all.extend(self.readers);
        all.extend(self.guests);
        all.push(self.host);
        for worker in &mut all {
            worker.tell(&Order::Settle).await?;
        }
        for worker in &mut all {
            worker
                .says(|it| matches!(it, Answer::Settled).then_some(()))
                .await?;
        }
        let mut tally = Tally::default();
        for worker in &mut all {
            let own = scene
                .heads(std::slice::from_ref(&worker.task.history))
                .await?;
            worker.tell(&Order::Finish(own)).await?;
            tally += worker
                .says(|it| match it {
                    Answer::Done(tally) => Some(*tally),
                    _ => None,
                })
                .await?;
            ensure!(worker.child.wait().await?.success(), "a worker failed");
        }
        Ok(tally)
    }
}

/// A worker process.
struct Worker {
    task: Task,
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    fn start(task: Task, folder: &Path) -> anyhow::Result<Self> {
        let log = folder
            .join("logs")
            .join(format!("{}-{}.log", task.user, task.device));
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args([worker::WORD, &serde_json::to_string(&task)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let orders = child.stdin.take().context("no stdin")?;
        let answers = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        Ok(Self {
            task,
            child,
            orders,
            answers,
        })
    }

    /// Killed with signal 9, and started again with the same history.
    async fn reborn(mut self, folder: &Path) -> anyhow::Result<Self> {
        self.child.start_kill()?;
        self.child.wait().await?;
        let mut task = self.task;
        task.seed = task.seed.wrapping_add(1_000);
        Self::start(task, folder)
    }

    async fn tell(&mut self, order: &Order) -> anyhow::Result<()> {
        let line = format!("{}\n", serde_json::to_string(order)?);
        Ok(self.orders.write_all(line.as_bytes()).await?)
    }

    async fn answer(&mut self) -> anyhow::Result<Answer> {
        let Task { user, device, .. } = &self.task;
        let line = timeout(PATIENCE, self.answers.next_line()).await;
        let line =
            line.with_context(|| format!("{user}'s {device} is silent for {PATIENCE:?}"))??;
        let line =
            line.with_context(|| format!("{user}'s {device} has ended; its log says why"))?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Reads what waits in the pipe.
    async fn listen(&mut self) -> anyhow::Result<()> {
        let waits = Instant::now() + Duration::from_millis(1);
        while let Ok(line) = tokio::time::timeout_at(waits, self.answers.next_line()).await {
            ensure!(
                line?.is_some(),
                "{}'s {} has ended; its log says why",
                self.task.user,
                self.task.device
            );
        }
        Ok(())
    }

    /// Waits until it has made so much more progress.
    async fn goes_on(&mut self, more: u64) -> anyhow::Result<()> {
        // What waits in the pipe is of before.
        self.listen().await?;
        let mut goal = None;
        loop {
            match self.answer().await? {
                Answer::Progress(it) if it >= *goal.get_or_insert(it + more) => return Ok(()),
                Answer::Progress(_) => {}
                other => bail!("{other:?} came unasked"),
            }
        }
    }

    /// Skips progress.
    async fn says<T>(&mut self, is_it: fn(&Answer) -> Option<T>) -> anyhow::Result<T> {
        loop {
            let answer = self.answer().await?;
            match (is_it(&answer), answer) {
                (Some(said), _) => return Ok(said),
                (None, Answer::Progress(_)) => {}
                (None, other) => bail!("{other:?} came unasked"),
            }
        }
    }
}
