//! The store's files can no longer be written.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use flare_storage_model::{
    EmbeddedStoreOptions, MessageStore, StoreBatch, StoreError, contract::Script,
};
use rlimit::Resource;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::life::{log, open};

/// Names the folder for the process whose files may not grow.
const CHILD: &str = "FLARE_STORE_NOT_TO_WRITE";
const DEADLINE: Duration = Duration::from_secs(60);
/// "File size limit exceeded", on Linux. Who handles it gets an error from the write instead of his end.
const SIGXFSZ: i32 = 25;

#[tokio::test]
async fn a_store_that_cannot_write_has_failed_for_good() {
    #[expect(
        clippy::disallowed_methods,
        reason = "not a setting: how the test tells its child what it is"
    )]
    let child = env::var_os(CHILD);
    if let Some(folder) = child {
        return fail(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let child = Command::new(env::current_exe().expect("it runs"))
        .args([
            "--exact",
            "--nocapture",
            "unwritable::a_store_that_cannot_write_has_failed_for_good",
        ])
        .env(CHILD, folder.path())
        .stdout(Stdio::null())
        .status()
        .expect("it starts");
    assert!(child.success(), "what the child says stands above");

    // Nothing of it lasts: the next process goes on from the cursor.
    let store = open(folder.path(), EmbeddedStoreOptions::default());
    let mut script = Script::new();
    let batches = log(&mut script, 20);
    for batch in &batches {
        store.commit(Arc::clone(batch)).await.expect("it commits");
    }
    store.flush().await.expect("it is written");
    assert_eq!(store.cursor(script.partition).await, Ok(script.cursor));
}

/// The limit is the whole process's, so it is one of its own.
async fn fail(folder: &Path) {
    let _handled = signal(SignalKind::from_raw(SIGXFSZ)).expect("it is handled");
    let store = open(folder, EmbeddedStoreOptions::default());
    let mut script = Script::new();
    let [written, rest @ ..] = &log(&mut script, 20)[..] else {
        panic!("too short a log");
    };
    store.commit(Arc::clone(written)).await.expect("it commits");
    store.flush().await.expect("it is written");

    let (soft, hard) = Resource::FSIZE.get().expect("there is one");
    Resource::FSIZE.set(1, hard).expect("it is lowered");
    let refused = timeout(DEADLINE, commit_until_refused(&store, rest)).await;
    let flushed = store.flush().await;
    Resource::FSIZE.set(soft, hard).expect("it is raised again");

    let refused = refused.expect("a commit is refused in time");
    assert!(matches!(refused, StoreError::Failed(_)), "{refused:?}");
    assert_eq!(flushed, Err(refused.clone()));
    let waited = store.wait_beyond(script.partition, u64::MAX).await;
    assert_eq!(waited, Err(refused));
    let key = written.events[0].key();
    let run = store.range(key, 0, 1, usize::MAX).await;
    assert_eq!(run.map(|it| it.len()), Ok(1), "reads still answer");
}

/// What the writing thread meets is told with a later commit.
async fn commit_until_refused(
    store: &impl MessageStore,
    batches: &[Arc<StoreBatch>],
) -> StoreError {
    let partition = batches[0].partition;
    for batch in batches {
        if let Err(error) = store.commit(Arc::clone(batch)).await {
            return error;
        }
    }
    // It has taken everything that there is: it fails all the same, by itself.
    loop {
        if let Err(error) = store.wait_beyond(partition, u64::MAX).await {
            return error;
        }
    }
}
