//! Heads, for services.

use flare_proto::storage::HeadsRequest;

use crate::ground::{Ground, MAX_BYTES, header, system, system_of};

#[tokio::test]
async fn heads_are_those_that_there_are_of_the_tenant() {
    let mut ground = Ground::new();
    ground.talk.say("team", 4).await;
    ground.talk.recall("team", 2).await;
    let direct = ground.talk.whisper("bob", "alice").await;
    ground.other.say("board", 2).await;
    let ask = async |context| {
        let conversation_ids = ["team", direct.as_str(), "nowhere", "board"];
        let request = HeadsRequest {
            context: Some(context),
            conversation_ids: conversation_ids.map(str::to_owned).to_vec(),
            ..HeadsRequest::default()
        };
        let mut client = ground.client.clone();
        client.heads(request).await.unwrap().into_inner().heads
    };
    let heads = ask(system()).await;
    assert_eq!(heads.len(), 2);
    let team = &heads[0];
    assert_eq!((team.seq, team.ordinal), (5, 4));
    assert_eq!(team.recalled_seqs, [2]);
    assert_eq!(header(&team.last_message).seq, 4);
    assert_eq!(heads[1].conversation_id, direct);
    assert_eq!(heads[1].participants, ["alice", "bob"]);
    let heads = ask(system_of("other")).await;
    let ids: Vec<_> = heads.iter().map(|it| it.conversation_id.as_str()).collect();
    assert_eq!(ids, ["board"]);
}

#[tokio::test]
async fn an_answer_that_gets_too_large_says_how_far_it_goes() {
    let mut ground = Ground::new();
    for (conversation, bytes) in [
        ("a", MAX_BYTES * 2),
        ("b", MAX_BYTES / 2),
        ("c", MAX_BYTES / 2),
        ("d", 10),
    ] {
        ground.talk.text(conversation, &"x".repeat(bytes)).await;
    }
    let ask = async |ids: &[&str], without_last_messages| {
        let request = HeadsRequest {
            context: Some(system()),
            conversation_ids: ids.iter().map(ToString::to_string).collect(),
            without_last_messages,
        };
        let answer = ground.client.clone().heads(request).await.unwrap();
        let answer = answer.into_inner();
        let ids = answer.heads.iter().map(|it| it.conversation_id.clone());
        (answer.answered, ids.collect::<String>(), answer.heads)
    };
    let (answered, ids, heads) = ask(&["a", "b", "c", "d"], false).await;
    assert_eq!((answered, ids.as_str()), (1, "a"), "the first always fits");
    assert_eq!(header(&heads[0].last_message).seq, 1);
    let (answered, ids, _) = ask(&["nowhere", "b", "nothing", "c", "d"], false).await;
    assert_eq!((answered, ids.as_str()), (3, "b"));
    let (answered, ids, _) = ask(&["c", "d", "nowhere"], false).await;
    assert_eq!((answered, ids.as_str()), (3, "cd"));
    let (answered, ids, heads) = ask(&["a", "b", "c", "d"], true).await;
    assert_eq!((answered, ids.as_str()), (4, "abcd"));
    assert!(heads.iter().all(|it| it.last_message.is_empty()));
}
