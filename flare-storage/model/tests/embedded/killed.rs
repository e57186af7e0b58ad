//! The store's process is killed while it writes.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use flare_storage_model::{
    EmbeddedStoreOptions, Fingerprint, Head, LoggedEvent, MessageStore, contract::Script,
    decode_header,
};
use tokio::time::{interval, timeout};

use crate::life::{log, open};

/// Names the folder for the process that is to be killed.
const CHILD: &str = "FLARE_STORE_TO_KILL";

fn options() -> EmbeddedStoreOptions {
    EmbeddedStoreOptions {
        gather: Duration::ZERO,
        sync_bytes: 256 * 1024,
        ..EmbeddedStoreOptions::default()
    }
}

/// Commits what is missing of an endless log, and notes what the store has called synced.
async fn write_until_killed(folder: &Path) {
    let store = open(&folder.join("store"), options());
    // The first script of this process: the same log in each.
    let mut script = Script::new();
    let cursor = store.cursor(script.partition).await.expect("it reads");
    for round in 0.. {
        for batch in log(&mut script, 8) {
            if batch.to.next_offset > cursor.next_offset {
                store.commit(batch).await.expect("it commits");
            }
        }
        let synced = store
            .synced_cursor(script.partition)
            .await
            .expect("it reads");
        let note = folder.join(format!("note-{round}"));
        fs::write(&note, synced.next_offset.to_string()).expect("it is written");
        fs::rename(&note, folder.join("synced")).expect("it is renamed");
    }
}

fn synced(folder: &Path) -> u64 {
    let note = fs::read_to_string(folder.join("synced")).unwrap_or_default();
    note.parse().unwrap_or(0)
}

#[tokio::test]
async fn a_killed_process_leaves_a_prefix_of_the_log() {
    #[expect(
        clippy::disallowed_methods,
        reason = "not a setting: how the test tells its child what it is"
    )]
    let child = env::var_os(CHILD);
    if let Some(folder) = child {
        return write_until_killed(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut reached = 0;
    for _ in 0..4 {
        let mut child = Command::new(env::current_exe().expect("it runs"))
            .args([
                "--exact",
                "killed::a_killed_process_leaves_a_prefix_of_the_log",
            ])
            .env(CHILD, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let further = timeout(Duration::from_secs(60), async {
            let mut look = interval(Duration::from_millis(2));
            while synced(folder.path()) < reached + 200 {
                look.tick().await;
            }
        })
        .await;
        child.kill().expect("it is killed");
        child.wait().expect("it ends");
        assert!(further.is_ok(), "nothing was synced above {reached}");
        let noted = synced(folder.path());
        reached = assert_prefix(folder.path()).await;
        assert!(
            reached >= noted,
            "synced up to {noted}, found up to {reached}"
        );
    }
}

/// The rows are those of the log up to the cursor, no more and no less. Gives the cursor.
async fn assert_prefix(folder: &Path) -> u64 {
    let store = open(&folder.join("store"), options());
    // Of the first script of a process.
    let (tenant, partition) = ("tenant-1", 1);
    let groups = store.cursor(partition).await.expect("it reads").next_offset;
    let key = |name: &str| flare_storage_model::ConversationKey::new(tenant, name);
    let quiet = (0..7).map(|it| (format!("quiet-{it}"), groups_of(groups, 8, it)));
    let busy = (
        "busy".to_owned(),
        groups * 3 + (0..groups).filter(|it| it % 8 % 4 == 1).count() as u64,
    );
    for (name, count) in quiet.chain([busy]) {
        let run = store
            .range(&key(&name), 0, usize::MAX, usize::MAX)
            .await
            .expect("no gap");
        assert_eq!(run.len() as u64, count, "{name} in {groups} groups");
        let mut head = Head::default();
        for event in run {
            let header = decode_header(event.clone()).expect("an event");
            head.apply(&header).expect("the next event");
            let event = LoggedEvent::parse(event, Fingerprint([0; 16])).expect("an event");
            let id = event.id_key().expect("it has one");
            let receipts = store.receipts(&[id]).await.expect("it reads");
            assert_eq!(receipts[0].map(|it| it.0), Some(event.receipt()));
            let place = store.locate(event.message_id()).await.expect("it reads");
            assert_eq!(place, Some((key(&name), event.seq())));
        }
        let heads = store.heads(&[key(&name)]).await.expect("it reads");
        assert_eq!(heads, [(head.seq > 0).then_some(head)]);
    }
    groups
}

/// How many of the groups touch the quiet conversation: the log comes in rounds of 8, its conversations in turns of 7.
fn groups_of(groups: u64, round: u64, conversation: u64) -> u64 {
    (0..groups)
        .filter(|it| it % round % 7 == conversation)
        .count() as u64
}
