//! Where a new device begins.

use flare_proto::{
    common::{ErrorCode, RequestContext},
    message::Event,
    storage::{SnapshotRequest, SnapshotResponse},
};
use flare_server_core::error::Refusal;
use prost::Message;

use crate::ground::{Ground, code, header, seqs, user};

async fn snapshot(
    ground: &Ground,
    who: RequestContext,
    size: u32,
) -> Result<SnapshotResponse, Refusal> {
    let request = SnapshotRequest {
        context: Some(who),
        conversation_id: "team".to_owned(),
        page_size: Some(size),
    };
    Ok(ground.client.clone().snapshot(request).await?.into_inner())
}

fn messages(snapshot: &SnapshotResponse) -> Vec<u64> {
    let seq = |it: &flare_proto::storage::Message| header(&it.event).seq;
    snapshot.messages.iter().map(seq).collect()
}

#[tokio::test]
async fn a_snapshot_and_what_follows_its_seq_are_the_whole() {
    let mut ground = Ground::new();
    ground.talk.say("team", 8).await;
    ground.talk.rename("team").await;
    ground.show("alice", "team", 0, 0);
    let taken = snapshot(&ground, user("alice"), 3).await.unwrap();
    assert_eq!(messages(&taken), [6, 7, 8]);
    assert_eq!((taken.as_of_seq, taken.floor_seq), (9, 1));
    ground.talk.say("team", 2).await;
    let rest = ground
        .sync(user("alice"), "team", taken.as_of_seq, 10)
        .await
        .unwrap();
    assert_eq!(seqs(&rest.events), [10, 11]);
}

#[tokio::test]
async fn a_snapshot_ends_where_the_reader_left_and_begins_where_he_joined() {
    let mut ground = Ground::new();
    ground.talk.say("team", 9).await;
    ground.show("dave", "team", 4, 6);
    let taken = snapshot(&ground, user("dave"), 200).await.unwrap();
    assert_eq!(messages(&taken), [4, 5, 6]);
    assert_eq!((taken.as_of_seq, taken.floor_seq), (6, 4));
    let refused = snapshot(&ground, user("eve"), 200).await;
    assert_eq!(code(refused), ErrorCode::ConversationNotFound);
    let refused = snapshot(&ground, user("dave"), 0).await;
    assert_eq!(refused.expect_err("refused").field, "page_size");
}

#[tokio::test]
async fn a_recalled_message_stands_in_it_without_its_content() {
    let mut ground = Ground::new();
    ground.talk.say("team", 3).await;
    ground.talk.recall("team", 3).await;
    ground.show("alice", "team", 0, 0);
    let taken = snapshot(&ground, user("alice"), 2).await.unwrap();
    let told: Vec<_> = taken
        .messages
        .iter()
        .map(|it| {
            let event = Event::decode(it.event.clone()).unwrap();
            (event.body.is_empty(), it.recalled, it.recalled_by_seq)
        })
        .collect();
    assert_eq!(told, [(false, false, 0), (true, true, 4)]);
    assert_eq!(taken.as_of_seq, 4);
}
