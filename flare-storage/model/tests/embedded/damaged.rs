//! A bit of the store's files changes: each read gives what was written or an error, and nothing else.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use flare_storage_model::{
    EmbeddedMessageStore, EmbeddedStoreOptions, MessageQuery, MessageStore, StoreBatch, StoreError,
    contract::Script,
};

use crate::life::{log, open};

/// So small that much of the log is sorted into files.
fn options() -> EmbeddedStoreOptions {
    EmbeddedStoreOptions {
        memtable_bytes: 64 * 1024,
        ..EmbeddedStoreOptions::default()
    }
}

/// All that can be asked of a few conversations, in words, once the store has taken what it lacks from the log: fjall takes a damaged end of
/// its journal for a torn one.
pub(crate) async fn answers(
    store: &EmbeddedMessageStore,
    script: &Script,
    batches: &[Arc<StoreBatch>],
) -> Result<Vec<String>, StoreError> {
    let cursor = store.cursor(script.partition).await?;
    for batch in batches {
        if batch.to.next_offset > cursor.next_offset {
            store.commit(Arc::clone(batch)).await?;
        }
    }
    let mut answers = Vec::new();
    let events = || batches.iter().flat_map(|it| &it.events);
    for name in ["busy", "quiet-1", "quiet-5"] {
        let key = script.key(name);
        let range = store.range(&key, 0, usize::MAX, usize::MAX).await?;
        answers.extend(range.iter().map(|it| format!("{it:?}")));
        let rows = store
            .messages(&key, MessageQuery::After(0), usize::MAX)
            .await?;
        answers.extend(rows.iter().map(|it| format!("{it:?}")));
        answers.push(format!("{:?}", store.heads(&[key]).await?));
    }
    let ids: Vec<_> = events().filter_map(|it| it.id_key()).collect();
    answers.push(format!("{:?}", store.receipts(&ids).await?));
    for event in events().step_by(17) {
        answers.push(format!("{:?}", store.locate(event.message_id()).await?));
    }
    Ok(answers)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub(crate) fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("a folder");
    for file in files(from) {
        let place = to.path().join(file.strip_prefix(from).expect("inside"));
        fs::create_dir_all(place.parent().expect("a folder")).expect("made");
        fs::copy(&file, place).expect("copied");
    }
    to
}

fn names(error: &StoreError, folder: &Path, at: &str) {
    let said = error.to_string();
    assert!(said.contains(&folder.display().to_string()), "{at}: {said}");
}

/// The bits of what begins a batch in the middle of a journal of fjall: its tag, the count of its rows, its number; and the tag of a row.
fn batch_start(journal: &[u8]) -> Range<usize> {
    let start = middle_of(journal);
    start * 8..(start + 14) * 8
}

/// Where a batch begins in the middle of a journal of fjall.
fn middle_of(journal: &[u8]) -> usize {
    let trailer = b"FJL\x03";
    let middle = journal.len() / 2;
    let end = journal[middle..]
        .windows(trailer.len())
        .position(|it| it == trailer);
    middle + end.expect("a batch ends in the second half") + trailer.len()
}

#[tokio::test]
async fn a_flipped_bit_is_an_error_or_nothing_and_never_another_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = Script::new();
    let batches = log(&mut script, 600);
    for part in batches.chunks(100) {
        let store = open(folder.path(), options());
        for batch in part {
            store.commit(Arc::clone(batch)).await.expect("it commits");
        }
        store.close().await.expect("it closes");
    }
    let ought = {
        let store = open(folder.path(), options());
        let answers = answers(&store, &script, &batches).await;
        store.close().await.expect("it closes");
        answers.expect("it reads")
    };
    let good = copy(folder.path());
    let mut of_batch = 0;
    let (mut sorted, mut refused, mut failed, mut same) = (0, 0, 0, 0);
    for file in files(good.path()) {
        let content = fs::read(&file).expect("readable");
        if content.is_empty() {
            continue;
        }
        let is_table = file.components().any(|it| it.as_os_str() == "tables");
        sorted += usize::from(is_table);
        let spread = content.len() * 8 / if is_table { 10 } else { 3 };
        let mut bits: Vec<_> = (3..content.len() * 8).step_by(spread).collect();
        if file.extension().is_some_and(|it| it == "jnl") {
            let start = batch_start(&content);
            of_batch += start.len();
            bits.extend(start);
        }
        for bit in bits {
            let copy = copy(good.path());
            let name = file.strip_prefix(good.path()).expect("inside");
            let mut bytes = content.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(copy.path().join(name), bytes).expect("written");
            let at = format!("{} bit {bit}", name.display());
            match EmbeddedMessageStore::open(copy.path(), options()) {
                Err(error) => {
                    refused += 1;
                    names(&error, copy.path(), &at);
                }
                Ok(store) => match answers(&store, &script, &batches).await {
                    Err(error) => {
                        failed += 1;
                        names(&error, copy.path(), &at);
                    }
                    Ok(is) => {
                        same += 1;
                        assert!(is == ought, "{at} changed an answer");
                    }
                },
            }
        }
    }
    assert!(of_batch > 0, "there was no journal");
    assert!(sorted > 1, "nothing was sorted into files");
    assert!(refused > 0 && same > 0, "{refused} {failed} {same}");
    println!("{sorted} tables: {refused} refused, {failed} failed, {same} the same");
}

#[tokio::test]
async fn an_older_journal_is_whole_or_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = Script::new();
    let batches = log(&mut script, 200);
    let store = open(folder.path(), EmbeddedStoreOptions::default());
    for batch in &batches {
        store.commit(Arc::clone(batch)).await.expect("it commits");
        store.flush().await.expect("it syncs");
    }
    drop(store);
    // As if fjall had begun a second one in the middle.
    let path = folder.path().join("0.jnl");
    let journal = fs::read(&path).expect("a journal");
    let written = journal
        .iter()
        .rposition(|it| *it != 0)
        .map_or(0, |it| it + 1);
    let (older, newer) = journal[..written].split_at(middle_of(&journal[..written]));
    fs::write(&path, older).expect("written");
    fs::write(folder.path().join("1.jnl"), newer).expect("written");
    {
        let copy = copy(folder.path());
        let store = open(copy.path(), EmbeddedStoreOptions::default());
        assert_eq!(store.cursor(script.partition).await, Ok(script.cursor));
    }
    let cut = &older[..older.len() - 1];
    let padded = [older, &[0; 100], b"x"].concat();
    for damaged in [cut, &padded] {
        let copy = copy(folder.path());
        fs::write(copy.path().join("0.jnl"), damaged).expect("written");
        let opened = EmbeddedMessageStore::open(copy.path(), EmbeddedStoreOptions::default());
        let error = opened.err().expect("it is refused");
        names(&error, &copy.path().join("0.jnl"), "an older journal");
    }
}
