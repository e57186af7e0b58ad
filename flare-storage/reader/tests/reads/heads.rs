//! Heads, for services.

use flare_proto::storage::HeadsRequest;

use crate::ground::{Ground, header, system, system_of};

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
