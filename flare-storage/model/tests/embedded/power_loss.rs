//! The power fails: of what was written since the last sync, each page of the journal is on the disk or is not.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use flare_storage_model::{EmbeddedStoreOptions, MessageStore, contract::Script};
use tokio::time::timeout;

use crate::{
    damaged::{answers, copy},
    life::{log, open},
};

const PAGE: usize = 4096;
const JOURNAL: &str = "0.jnl";

/// Nothing is synced unless it is asked for, and nothing is sorted.
fn options() -> EmbeddedStoreOptions {
    EmbeddedStoreOptions {
        gather: Duration::ZERO,
        sync_interval: Duration::from_secs(3_600),
        ..EmbeddedStoreOptions::default()
    }
}

/// How much of the journal is written: fjall makes room with zeros.
fn written(folder: &Path) -> usize {
    let journal = fs::read(folder.join(JOURNAL)).expect("a journal");
    journal
        .iter()
        .rposition(|it| *it != 0)
        .map_or(0, |it| it + 1)
}

/// A sequence of choices that a seed decides (an LCG with the constants of Knuth's MMIX).
struct Choices(u64);

impl Choices {
    fn one_in(&mut self, n: u64) -> bool {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33).is_multiple_of(n)
    }
}

#[tokio::test]
async fn what_was_synced_survives_and_the_log_has_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = Script::new();
    let batches = log(&mut script, 400);
    let store = open(folder.path(), options());
    let (first, rest) = batches.split_at(100);
    for batch in first {
        store.commit(Arc::clone(batch)).await.expect("it commits");
    }
    store.flush().await.expect("it syncs");
    let synced = store.synced_cursor(script.partition).await.expect("a read");
    let safe = written(folder.path());
    for some in rest.chunks(10) {
        for batch in some {
            store.commit(Arc::clone(batch)).await.expect("it commits");
        }
        let empty = async {
            while store.tail_size().events > 0 {
                tokio::task::yield_now().await;
            }
        };
        let moved = timeout(Duration::from_secs(30), empty).await;
        moved.expect("the tail moves to the journal");
    }
    drop(store);
    let end = written(folder.path());
    assert!(end > safe + 20 * PAGE, "{safe} to {end} are few pages");
    let ought = {
        let copy = copy(folder.path());
        let store = open(copy.path(), options());
        answers(&store, &script, &batches).await.expect("it reads")
    };
    let (mut shorter, mut whole) = (0, 0);
    for seed in 0..60 {
        let copy = copy(folder.path());
        let path = copy.path().join(JOURNAL);
        let mut journal = File::options().write(true).open(path).expect("it opens");
        let mut choices = Choices(seed);
        // From one page in two to one in a hundred.
        let share = [2, 8, 30, 100][usize::try_from(seed).expect("small") % 4];
        for page in safe.div_ceil(PAGE)..end.div_ceil(PAGE) {
            if choices.one_in(share) {
                let at = (page * PAGE) as u64;
                journal.seek(SeekFrom::Start(at)).expect("a place");
                journal.write_all(&[0; PAGE]).expect("it is lost");
            }
        }
        drop(journal);
        let store = open(copy.path(), options());
        let cursor = store.cursor(script.partition).await.expect("a read");
        assert!(cursor.next_offset >= synced.next_offset, "seed {seed}");
        if cursor == script.cursor {
            whole += 1;
        } else {
            shorter += 1;
        }
        let is = answers(&store, &script, &batches).await;
        assert!(is.expect("it reads") == ought, "seed {seed}");
    }
    assert!(shorter > 20, "{shorter} lost something, {whole} nothing");
}
