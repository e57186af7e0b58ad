//! Where messages stand in a log of several partitions that several processes write.

use flare_storage_writer::application::find_in_log::{Found, LogSearch, SHARED_SLACK_MS};

use crate::{
    log::Member,
    process::{Ground, PARTITIONS, Process},
    talk::Said,
    until,
};

async fn are_found(search: &LogSearch, said: &[Said]) {
    for it in said {
        for event in &it.events {
            let found = search.find("default", event.message_id()).await.unwrap();
            let ought = Found::At {
                offset: it.offset,
                event: event.event().clone(),
            };
            assert_eq!(found, Some(ought), "{} of {}", event.seq(), event.key());
            let foreign = search.find("other", event.message_id()).await.unwrap();
            assert_eq!(foreign, None);
        }
    }
}

#[tokio::test]
async fn messages_are_found_in_the_partition_of_their_conversation() {
    let (ground, mut talk) = Ground::new();
    let search = LogSearch::new(Member::new(&ground.log), ground.store.clone());
    let mut said = Vec::new();
    for round in 0..40 {
        for conversation in 0..6 {
            said.push(talk.say(&format!("g{conversation}"), 1 + round % 2));
        }
        talk.pass(i64::try_from(round).unwrap() * 10_000);
    }
    are_found(&search, &said[..20]).await;
    let process = Process::start(&ground, &[0, 1, 2, 3]);
    until("all is stored", async || ground.is_stored().await).await;
    process.drain().await;
    let partitions: std::collections::BTreeSet<_> = said.iter().map(|it| it.partition).collect();
    assert!(partitions.len() > 1);
    are_found(&search, &said).await;
    said = (0..6).map(|it| talk.say(&format!("g{it}"), 2)).collect();
    are_found(&search, &said).await;
}

#[tokio::test]
async fn groups_that_landed_long_after_they_were_decided_hide_nothing() {
    let (ground, mut talk) = Ground::new();
    let mut said = Vec::new();
    for round in 0..60 {
        for conversation in 0..4 {
            said.push(talk.say(&format!("g{conversation}"), 1));
        }
        talk.pass(SHARED_SLACK_MS / 10);
        for partition in 0..PARTITIONS {
            // From ages ago, from a while ago.
            talk.land_late(
                partition,
                if round % 2 == 0 {
                    0
                } else {
                    crate::talk::START_MS
                },
            );
        }
    }
    let process = Process::start(&ground, &[0, 1, 2, 3]);
    until("all is stored", async || ground.is_stored().await).await;
    process.drain().await;
    let search = LogSearch::new(Member::new(&ground.log), ground.store.clone());
    are_found(&search, &said).await;
}
