//! What is promised of lines.

use flare_session::{
    application::ports::{CommandId, StoreError},
    domain::{
        change::Change,
        membership::{Belonging, FormerMember},
    },
};
use flare_storage_model::ConversationKey;

use super::{Stores, added, at, created, key, line};

pub(super) async fn a_line_counts_when_it_is_settled(stores: Stores) {
    let (line, command) = line(1, created());
    stores
        .conversations
        .commit(&line, &command, 0, 10)
        .await
        .expect("commits");
    assert!(stores.members().await.is_empty());
    assert_eq!(
        stores.conversations.conversation(&key(), &[]).await,
        Ok(None)
    );
    assert_eq!(stores.conversations.exists(&key()).await, Ok(true));
    assert_eq!(
        stores.conversations.pending(&key()).await,
        Ok(vec![line.clone()])
    );
    assert_eq!(
        stores.conversations.pending_conversations().await,
        Ok(vec![key()])
    );
    assert_eq!(stores.version("mia").await, 0);
    stores
        .conversations
        .settle(&line, &at(1))
        .await
        .expect("settles");
    stores.rosters.forget(&key());
    assert_eq!(stores.members().await, ["mia", "olga"]);
    assert_eq!(
        stores.conversations.pending_conversations().await,
        Ok(Vec::new())
    );
    assert_eq!(stores.version("mia").await, 1);
}

pub(super) async fn settling_twice_changes_nothing(stores: Stores) {
    stores.change(1, created()).await;
    let (line, command) = line(2, added("max"));
    stores
        .conversations
        .commit(&line, &command, 1, 10)
        .await
        .expect("commits");
    stores
        .conversations
        .settle(&line, &at(2))
        .await
        .expect("settles");
    let version = stores.version("max").await;
    stores
        .conversations
        .settle(&line, &at(9))
        .await
        .expect("settles");
    stores.conversations.withdraw(&line).await.expect("answers");
    stores.rosters.forget(&key());
    assert_eq!(stores.version("max").await, version);
    let roster = stores
        .rosters
        .roster(&key())
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(
        (
            roster.as_of,
            roster.summary.member_count,
            roster.members.as_ref().map(|it| it.len())
        ),
        (2, 3, Some(3))
    );
}

pub(super) async fn a_command_is_answered_again(stores: Stores) {
    let answered = async |client_id: &str| {
        let answered = stores
            .conversations
            .answered(&key(), "olga", client_id)
            .await
            .expect("answers");
        answered.map(|it| (it.fingerprint, it.seq))
    };
    assert_eq!(answered("c1").await, None);
    let (line, command) = line(1, created());
    stores
        .conversations
        .commit(&line, &command, 0, 10)
        .await
        .expect("commits");
    assert_eq!(answered("c1").await, Some(([7; 16], None)));
    stores
        .conversations
        .settle(&line, &at(1))
        .await
        .expect("settles");
    assert_eq!(answered("c1").await, Some(([7; 16], Some(1))));
    let nothing = CommandId {
        client_id: "c2".into(),
        fingerprint: [8; 16],
    };
    stores
        .conversations
        .commit_nothing(&key(), "olga", "line-2", &nothing)
        .await
        .expect("commits");
    assert_eq!(answered("c2").await, Some(([8; 16], Some(0))));
    assert_eq!(
        stores.conversations.answered(&key(), "mia", "c1").await,
        Ok(None)
    );
}

pub(super) async fn what_is_withdrawn_was_never_there(stores: Stores) {
    let (first, command) = line(1, created());
    stores
        .conversations
        .commit(&first, &command, 0, 1)
        .await
        .expect("commits");
    stores
        .conversations
        .withdraw(&first)
        .await
        .expect("withdraws");
    assert_eq!(stores.conversations.exists(&key()).await, Ok(false));
    assert_eq!(
        stores.conversations.answered(&key(), "olga", "c1").await,
        Ok(None)
    );
    // The limit of one group is free again.
    stores
        .conversations
        .commit(&first, &command, 0, 1)
        .await
        .expect("commits");
    stores
        .conversations
        .settle(&first, &at(1))
        .await
        .expect("settles");
    stores
        .change(2, Change::MemberLeft { user: "mia".into() })
        .await;
    let (third, command) = line(3, added("mia"));
    stores
        .conversations
        .commit(&third, &command, 2, 1)
        .await
        .expect("commits");
    stores
        .conversations
        .withdraw(&third)
        .await
        .expect("withdraws");
    let found = stores.rosters.belonging(&key(), &["mia".into()]).await;
    let former = FormerMember {
        joined_seq: 1,
        left_seq: 2,
    };
    assert_eq!(
        found.expect("answers").get("mia"),
        Some(&Belonging::Former(former))
    );
    stores
        .conversations
        .commit(&third, &command, 2, 1)
        .await
        .expect("there is room");
}

pub(super) async fn a_refused_commit_writes_nothing(stores: Stores) {
    let (first, command) = line(1, created());
    stores
        .conversations
        .commit(&first, &command, 0, 1)
        .await
        .expect("commits");
    let mut other = line(2, created());
    other.0.key = ConversationKey::new("t", "h");
    let refused = stores.conversations.commit(&other.0, &other.1, 0, 1).await;
    assert_eq!(
        refused,
        Err(StoreError::TooManyConversations {
            user: "olga".into(),
            max: 1
        })
    );
    assert_eq!(stores.conversations.exists(&other.0.key).await, Ok(false));
    assert_eq!(
        stores.conversations.pending(&other.0.key).await,
        Ok(Vec::new())
    );
    // In another tenant he is another user.
    other.0.key = ConversationKey::new("u", "h");
    assert_eq!(
        stores.conversations.commit(&other.0, &other.1, 0, 1).await,
        Ok(())
    );
}

pub(super) async fn what_was_decided_on_something_else_is_not_written(stores: Stores) {
    let store = &*stores.conversations;
    let moved = Err(StoreError::Moved(key()));
    let (first, command) = line(1, created());
    assert_eq!(store.commit(&first, &command, 1, 10).await, moved);
    assert_eq!(store.exists(&key()).await, Ok(false));
    store
        .commit(&first, &command, 0, 10)
        .await
        .expect("commits");
    // While it waits, nothing else is written, not even the same group.
    let (again, other_command) = line(2, created());
    assert_eq!(store.commit(&again, &other_command, 0, 10).await, moved);
    store.settle(&first, &at(1)).await.expect("settles");
    assert_eq!(store.commit(&again, &other_command, 0, 10).await, moved);
    stores
        .change(
            3,
            Change::Renamed {
                title: "new".into(),
            },
        )
        .await;
    let (fourth, command) = line(4, added("max"));
    assert_eq!(store.commit(&fourth, &command, 1, 10).await, moved);
    assert_eq!(store.pending(&key()).await, Ok(Vec::new()));
    assert_eq!(stores.members().await, ["mia", "olga"]);
    store
        .commit(&fourth, &command, 3, 10)
        .await
        .expect("commits");
    let (fifth, command) = line(5, added("eva"));
    assert_eq!(store.commit(&fifth, &command, 3, 10).await, moved);
    assert_eq!(store.pending(&key()).await, Ok(vec![fourth]));
}
