//! The server is killed again and again, at random moments, or can write no more and ends by itself, while processes of their own write and read; now and then one of these is killed too.

use std::{fs::OpenOptions, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail, ensure};
use flare_checker::Counts;
use flare_proto::message::HistoryVisibility;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    arguments::Arguments,
    deployment::Part,
    judge::{self, Minimums},
    process,
    scene::Scene,
    worker::{self, Address, Answer, Order, Task},
};

const SEED: u64 = 0x00f1_a3e5;
const WRITERS: usize = 3;
const READERS: usize = 2;
/// Receipts that a writer must get between two kills.
const BETWEEN: u64 = 5;
/// With every so manyeth kill the server is not killed: its writes fail.
const WRITES_FAIL_EVERY: u32 = 4;
/// A writer is killed with every so manyeth kill of the server.
const WRITER_EVERY: u32 = 5;
/// The histories are judged after every so manyeth kill, and at the end.
const JUDGED_EVERY: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(60);

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

    /// Waits until it has made so much more progress.
    async fn goes_on(&mut self, more: u64) -> anyhow::Result<()> {
        // What waits in the pipe is of before.
        let waits = Instant::now() + Duration::from_millis(1);
        while let Ok(line) = tokio::time::timeout_at(waits, self.answers.next_line()).await {
            ensure!(
                line?.is_some(),
                "{}'s {} has ended; its log says why",
                self.task.user,
                self.task.device
            );
        }
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
    async fn says(&mut self, is_it: fn(&Answer) -> bool) -> anyhow::Result<()> {
        loop {
            match self.answer().await? {
                it if is_it(&it) => return Ok(()),
                Answer::Progress(_) => {}
                other => bail!("{other:?} came unasked"),
            }
        }
    }
}

/// What is acked is there after each kill, once and in order; so says the checker time and again, and of all histories and the data folder at the end.
pub(crate) async fn kill_loop(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(SEED);
    let root = scene.arrives("root", "console").await?;
    let users: Vec<String> = (0..WRITERS)
        .map(|it| format!("writer-{it}"))
        .chain((0..READERS).map(|it| format!("reader-{it}")))
        .collect();
    let members: Vec<&str> = users.iter().map(String::as_str).collect();
    let group = root
        .create_group("Kill loop", &members, HistoryVisibility::All)
        .await?;
    let folder = scene.folder().to_owned();
    let mut workers = Vec::new();
    for (number, user) in users.iter().enumerate() {
        let targets = if number < WRITERS {
            vec![
                Address::Conversation(group.clone()),
                Address::User(format!("reader-{}", number % READERS)),
            ]
        } else {
            Vec::new()
        };
        let history = scene
            .histories_folder()
            .join(format!("worker-{user}.jsonl"));
        scene.add_history(history.clone());
        let task = Task {
            url: scene.server.url()?,
            token: scene.server.token(user, None).await?,
            user: user.clone(),
            device: "process".to_owned(),
            history,
            targets,
            seed: rng.random(),
        };
        workers.push(Worker::start(task, &folder)?);
    }

    for cycle in 1..=arguments.cycles {
        for writer in &mut workers[..WRITERS] {
            writer
                .goes_on(BETWEEN)
                .await
                .with_context(|| format!("before kill {cycle}"))?;
        }
        // A moment that has nothing to do with what the server is at.
        sleep_until(Instant::now() + Duration::from_micros(rng.random_range(0..400_000))).await;
        let ended = if cycle % WRITES_FAIL_EVERY == 0 {
            scene.fail_writes(Part::Core).await
        } else {
            scene.crash(Part::Core).await
        };
        ended.with_context(|| format!("kill {cycle}"))?;
        if cycle % WRITER_EVERY == 0 {
            let at = rng.random_range(0..WRITERS);
            let reborn = workers.swap_remove(at).reborn(&folder).await?;
            workers.push(reborn);
            let last = workers.len() - 1;
            workers.swap(at, last);
        }
        // A judgement takes as long as the histories are.
        if cycle % JUDGED_EVERY == 0 {
            let verdict = scene.verdict_so_far().await?;
            judge::demand(&verdict, &Counts::default())
                .with_context(|| format!("after kill {cycle}"))?;
        }
    }

    for worker in &mut workers {
        worker.tell(&Order::Settle).await?;
    }
    for worker in &mut workers {
        worker.says(|it| matches!(it, Answer::Settled)).await?;
    }
    for worker in &mut workers {
        let own = scene
            .heads(std::slice::from_ref(&worker.task.history))
            .await?;
        worker.tell(&Order::Finish(own)).await?;
        worker.says(|it| matches!(it, Answer::Done)).await?;
        ensure!(worker.child.wait().await?.success(), "a worker failed");
    }
    let cycles = u64::from(arguments.cycles);
    let minimums = Minimums {
        acks: cycles * WRITERS as u64 * BETWEEN,
        refusals: 0,
        retries: cycles,
        // Acks that a kill took: a matter of chance, 14 in 200 kills.
        duplicates: cycles / 50,
        deliveries: cycles * WRITERS as u64 * BETWEEN,
        syncs: cycles,
        restarts: cycles,
        beside: Counts {
            clients: 7,
            conversations: 4,
            disconnections: cycles * 3,
            ends: 1 + WRITERS as u64 * 2 + READERS as u64 * 2,
            ..Counts::default()
        },
    };
    let (data, histories) = (scene.server.data(), scene.histories());
    scene.ends(vec![root], minimums).await?;

    // The same question to the stopped server's files.
    let mut words = vec![
        "verify".to_owned(),
        "--json".to_owned(),
        "--data".to_owned(),
        path(&data)?,
    ];
    for history in &histories {
        words.extend(["--history".to_owned(), path(history)?]);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let report: serde_json::Value = serde_json::from_str(&process::run(&words).await?)?;
    ensure!(
        report.get("kept") == Some(&serde_json::Value::Bool(true)),
        "flare verify says {report}"
    );
    Ok(())
}

fn path(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("no UTF-8")?.to_owned())
}
