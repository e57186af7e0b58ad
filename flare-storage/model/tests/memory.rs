//! What the embedded store takes of memory while it sorts long messages that compress to nothing: measured, because it is bounded.
#![expect(unsafe_code, reason = "an allocator that counts is unsafe to declare")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use flare_storage_model::{
    EmbeddedMessageStore, EmbeddedStoreOptions, MessageStore, contract::Script,
};

const MIB: usize = 1 << 20;
/// Five tables in memory of 32 MiB, and a file of 64 MiB that is being written.
const MOST: usize = 256 * MIB;
/// Of 60 KB each: more than a gigabyte, so that fjall sorts into its third level, which it compresses unless it is told not to.
const BATCHES: usize = 1_200;
const MESSAGES: usize = 20;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST_LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; the counts are beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST_LIVE.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's obligations are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[tokio::test]
async fn long_messages_that_say_little_take_no_more_memory_than_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = EmbeddedStoreOptions {
        gather: Duration::ZERO,
        max_tail_bytes: 8 * MIB,
        memtable_bytes: 32 * MIB as u64,
        cache_bytes: 8 * MIB as u64,
        ..EmbeddedStoreOptions::default()
    };
    let store = EmbeddedMessageStore::open(folder.path(), options).expect("the store opens");
    let mut script = Script::new();
    let text = "x".repeat(60_000);
    for batch in 0..BATCHES {
        let conversation = format!("conversation-{}", batch % 20);
        let events = (0..MESSAGES).map(|_| script.message(&conversation, &text));
        let events = events.collect::<Result<Vec<_>, _>>().expect("good events");
        store
            .commit(script.batch(events))
            .await
            .expect("it commits");
    }
    store.close().await.expect("it closes");
    let most = MOST_LIVE.load(Ordering::Relaxed);
    assert!(most <= MOST, "{} MiB", most / MIB);
}
