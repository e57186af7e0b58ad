//! Whatever is asked of it, the store on PostgreSQL gives the embedded store's answer.

use std::sync::Arc;

use flare_storage_model::{
    EmbeddedMessageStore, EmbeddedStoreOptions, IdKey, LoggedEvent, MessageQuery, MessageStore,
    StoreBatch, contract::Script,
};
use ulid::Ulid;

use crate::{database::Database, log::commit};

const CONVERSATIONS: u64 = 4;
const HOUR_MS: u64 = 60 * 60 * 1_000;

/// A sequence of choices that a seed decides (an LCG with the constants of Knuth's MMIX).
struct Choices(u64);

impl Choices {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn name(&mut self) -> String {
        format!("conversation-{}", self.below(CONVERSATIONS))
    }
}

/// Messages, recalls and other events, close to each other and weeks apart.
fn event(script: &mut Script, choices: &mut Choices) -> LoggedEvent {
    script.step_ms = match choices.below(8) {
        0 => 0,
        1 => i64::try_from(choices.below(20 * 24) * HOUR_MS).expect("it fits"),
        _ => 1_000,
    };
    let name = choices.name();
    let seq = script.head(&name).seq;
    let made = match choices.below(6) {
        0 if seq > 0 => script.recall(&name, 1 + choices.below(seq)),
        1 | 2 => script.rename(&name),
        _ => script.message(&name, &"text ".repeat(choices.below(40) as usize)),
    };
    made.expect("a good event")
}

fn batch(script: &mut Script, choices: &mut Choices) -> Arc<StoreBatch> {
    let count = choices.below(12);
    let events = (0..count).map(|_| event(script, choices)).collect();
    script.batch(events)
}

/// Something of everything, in words.
async fn answers(
    store: &dyn MessageStore,
    script: &Script,
    events: &[LoggedEvent],
    seed: u64,
) -> Vec<String> {
    let mut choices = Choices(seed);
    let mut answers = vec![format!("{:?}", store.cursor(script.partition).await)];
    for _ in 0..40 {
        let name = match choices.below(10) {
            0 => "nowhere".to_owned(),
            _ => choices.name(),
        };
        let key = script.key(&name);
        let last = script.head(&name).seq;
        let seq = match choices.below(12) {
            0 => 0,
            1 => u64::MAX,
            _ => choices.below(last + 3),
        };
        let other = choices.below(last + 3);
        let limit = choices.below(30) as usize;
        let max_bytes = match choices.below(3) {
            0 => usize::MAX,
            _ => choices.below(2_000) as usize,
        };
        let time_ms = match events.len() {
            0 => 0,
            some => {
                let event = &events[choices.below(some as u64) as usize];
                event.header().time_ms + i64::try_from(choices.below(3)).expect("small") - 1
            }
        };
        let asked = format!("{name} {seq} {other} {limit} {max_bytes} {time_ms}");
        let recalled = store.recalled_between(&key, seq, other).await;
        answers.push(format!(
            "{asked}: {:?} {:?} {:?} {:?} {recalled:?}",
            store.range(&key, seq, limit, max_bytes).await,
            store.event(&key, seq).await,
            store.floor(&key).await,
            store.count_recalled_above(&key, seq).await,
        ));
        for query in [
            MessageQuery::Before(seq),
            MessageQuery::After(seq),
            MessageQuery::FromTime(time_ms),
        ] {
            let page = store.messages(&key, query, limit).await;
            answers.push(format!("{asked} {query:?}: {page:?}"));
        }
        answers.push(format!(
            "{asked}: {:?}",
            store.heads(&[key.clone(), key]).await
        ));
    }
    let ids: Vec<IdKey> = events.iter().filter_map(LoggedEvent::id_key).collect();
    answers.push(format!("{:?}", store.receipts(&ids).await));
    for event in events.iter().step_by(7) {
        answers.push(format!("{:?}", store.locate(event.message_id()).await));
    }
    answers.push(format!("{:?}", store.locate(Ulid::from_parts(1, 1)).await));
    answers
}

#[tokio::test]
async fn random_logs_give_the_embedded_stores_answers() {
    let database = Database::create().await;
    let store = database.open().await;
    let folder = tempfile::tempdir().expect("a folder");
    let embedded = EmbeddedMessageStore::open(folder.path(), EmbeddedStoreOptions::default());
    let embedded = embedded.expect("the store opens");
    for seed in 1..=6 {
        let mut choices = Choices(seed);
        let mut script = Script::new();
        let mut batches: Vec<Arc<StoreBatch>> = Vec::new();
        for round in 0..60 {
            let batch = batch(&mut script, &mut choices);
            batches.push(Arc::clone(&batch));
            // Some batches come again.
            let again = &batches[choices.below(batches.len() as u64) as usize];
            for batch in [&batch, again] {
                let both = [commit(&store, batch).await, commit(&embedded, batch).await];
                assert_eq!(both, [Ok(()), Ok(())], "seed {seed} round {round}");
            }
            if round % 20 == 19 {
                let events: Vec<_> = batches.iter().flat_map(|it| it.events.clone()).collect();
                let asking = seed * 1_000 + round;
                let ought = answers(&embedded, &script, &events, asking).await;
                let is = answers(&store, &script, &events, asking).await;
                for (is, ought) in is.iter().zip(&ought) {
                    assert_eq!(is, ought, "seed {seed} round {round}");
                }
            }
        }
    }
}
