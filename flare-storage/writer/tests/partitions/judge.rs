//! What store and stream must be, whatever happened.

use std::collections::BTreeMap;

use flare_storage_model::{
    Applied, ConversationKey, LogState, MessageStore, apply, decode_header, record,
};

use crate::{
    DEADLINE,
    process::{Ground, PARTITIONS},
    talk::Talk,
};

/// The seqs of each conversation in the order of the stream. Each record is what the log says, under its conversation's key.
pub(crate) fn published(ground: &Ground) -> BTreeMap<ConversationKey, Vec<u64>> {
    let mut seqs: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (key, payload) in ground.topic.borrow().iter() {
        let header = decode_header(payload.clone()).unwrap();
        let conversation = ConversationKey::new(header.tenant_id, header.conversation_id);
        assert_eq!(*key, conversation.to_string().as_bytes());
        seqs.entry(conversation).or_default().push(header.seq);
    }
    seqs
}

/// Waits until everything that was said is in the stream.
pub(crate) async fn all_is_published(ground: &Ground, talk: &Talk) {
    let mut topic = ground.topic.subscribe();
    let is_all = || {
        let published = published(ground);
        let last = |it: &ConversationKey| published.get(it).and_then(|it| it.iter().max());
        talk.seqs().iter().all(|(key, seq)| last(key) == Some(seq))
    };
    let wait = async {
        while !is_all() {
            topic.changed().await.unwrap();
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, wait).await;
    assert!(in_time.is_ok(), "never: all is published");
}

/// Each event was published at least once, and before its first time its predecessor was.
pub(crate) fn first_times_are_in_order(ground: &Ground, talk: &Talk) {
    for (key, seqs) in published(ground) {
        let mut highest = 0;
        for seq in &seqs {
            assert!(
                *seq <= highest + 1,
                "{key}: {seq} after {highest}: {seqs:?}"
            );
            highest = highest.max(*seq);
        }
        assert_eq!(highest, talk.seqs()[&key], "{key}");
    }
}

/// Besides, what is repeated is repeated in order and up to where it broke off, as by one publisher after another.
pub(crate) fn repeats_are_whole(ground: &Ground) {
    for (key, seqs) in published(ground) {
        for pair in seqs.windows(2) {
            let goes_on = pair[1] == pair[0] + 1;
            assert!(goes_on || pair[1] <= pair[0], "{key}: {seqs:?}");
        }
        let last = seqs.last().copied();
        assert_eq!(last, seqs.iter().max().copied(), "{key}: {seqs:?}");
    }
}

/// The store has what counts in the log, and nothing else.
pub(crate) async fn store_is_the_fold(ground: &Ground) {
    let mut counts: BTreeMap<ConversationKey, Vec<_>> = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let mut state = LogState::default();
        for (offset, bytes) in (0..).zip(ground.log.records(partition)) {
            let record = record::decode(bytes).unwrap();
            if let Applied::Group(events) = apply(&mut state, offset, &record) {
                for event in events {
                    let events = counts.entry(event.key().clone()).or_default();
                    events.push(event.event().clone());
                }
            }
        }
        assert_eq!(ground.store.cursor(partition).await.unwrap(), state);
    }
    for (key, events) in counts {
        let stored = ground.store.range(&key, 0, 10_000, 1 << 24).await.unwrap();
        assert_eq!(stored, events, "{key}");
    }
}
