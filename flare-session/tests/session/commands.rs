//! Commands: group life, idempotence, limits, who may what.

use flare_proto::{
    common::{ActorKind, ErrorCode},
    message::{EventKind, HistoryVisibility, Role},
    session::{
        CreateConversationRequest, GetConversationRequest, ListMembersRequest, MembershipState,
        session_service_server::SessionService,
    },
};
use flare_session::SessionConfig;
use tonic::Request;

use super::world::{World, answer, assert_refused, context, user};

#[tokio::test]
async fn a_group_lives_from_its_creation_to_its_end() {
    let w = World::new().await;
    let created = w.create("olga", "team", &["ada", "mia"]).await;
    let conversation = created.conversation.clone().expect("a conversation");
    assert_eq!(created.role(), Role::Owner);
    assert_eq!(
        (conversation.owner_id.as_str(), conversation.member_count),
        ("olga", 3)
    );
    assert_eq!(w.rename("olga", "c1", "team", "new title").await, Ok(2));
    assert_eq!(
        w.set_role("olga", "c2", "team", "ada", Role::Admin).await,
        Ok(3)
    );
    assert_eq!(w.add("ada", "c3", "team", &["max"]).await, Ok(4));
    assert_eq!(w.remove("ada", "c4", "team", "mia").await, Ok(5));
    assert_eq!(w.transfer("olga", "c5", "team", "ada").await, Ok(6));
    assert_eq!(w.leave("olga", "c6", "team").await, Ok(7));
    assert_eq!(w.disband("ada", "c7", "team").await, Ok(8));
    let kinds: Vec<_> = w.log.events_of("team").iter().map(|it| it.kind()).collect();
    assert_eq!(
        kinds,
        [
            EventKind::ConversationCreated,
            EventKind::ConversationRenamed,
            EventKind::RoleChanged,
            EventKind::MembersAdded,
            EventKind::MemberRemoved,
            EventKind::OwnershipTransferred,
            EventKind::MemberLeft,
            EventKind::ConversationDisbanded,
        ]
    );
    let senders: Vec<_> = w
        .log
        .events_of("team")
        .into_iter()
        .map(|it| it.sender_id)
        .collect();
    assert_eq!(
        senders,
        ["olga", "olga", "olga", "ada", "ada", "olga", "olga", "ada"]
    );

    let request = GetConversationRequest {
        context: user("ada"),
        conversation_id: "team".into(),
    };
    let now = answer(w.rpc().get_conversation(Request::new(request)).await).expect("is seen");
    let conversation = now.conversation.clone().expect("a conversation");
    assert_eq!(
        (
            conversation.title.as_str(),
            conversation.owner_id.as_str(),
            conversation.member_count
        ),
        ("new title", "ada", 2)
    );
    assert!(conversation.disbanded);
    assert_refused(
        w.rename("ada", "c8", "team", "x").await,
        ErrorCode::ConversationDisbanded,
        "conversation_id",
    );
}

#[tokio::test]
async fn a_former_owner_is_an_admin() {
    let w = World::new().await;
    w.create("olga", "team", &["ada"]).await;
    w.transfer("olga", "c1", "team", "ada")
        .await
        .expect("transfers");
    assert_eq!(w.membership("team", "olga").await.role(), Role::Admin);
    assert_eq!(w.membership("team", "ada").await.role(), Role::Owner);
}

#[tokio::test]
async fn a_retry_gets_the_first_answer_and_changes_nothing() {
    let w = World::new().await;
    let first = w.create("olga", "team", &["mia"]).await;
    assert_eq!(w.create("olga", "team", &["mia"]).await, first);
    assert_eq!(w.leave("mia", "c1", "team").await, Ok(2));
    // He is no member any more, and still gets his answer.
    assert_eq!(w.leave("mia", "c1", "team").await, Ok(2));
    assert_eq!(w.rename("olga", "c1", "team", "title of team").await, Ok(0));
    assert_eq!(w.rename("olga", "c2", "team", "other").await, Ok(3));
    // What had nothing to change has nothing to change again, whatever happened since.
    assert_eq!(w.rename("olga", "c1", "team", "title of team").await, Ok(0));
    assert_eq!(w.log.events_of("team").len(), 3);
}

#[tokio::test]
async fn a_client_id_that_says_something_else_is_refused() {
    let w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.rename("olga", "c1", "team", "one")
        .await
        .expect("renames");
    assert_refused(
        w.rename("olga", "c1", "team", "two").await,
        ErrorCode::AlreadyExists,
        "client_id",
    );
    assert_refused(
        w.disband("olga", "c1", "team").await,
        ErrorCode::AlreadyExists,
        "client_id",
    );
    assert_refused(
        w.try_create("olga", "team", &["max"], HistoryVisibility::All)
            .await,
        ErrorCode::AlreadyExists,
        "client_id",
    );
    // Another sender's ids are his own.
    assert_eq!(w.leave("mia", "c1", "team").await, Ok(3));
}

#[tokio::test]
async fn a_taken_conversation_id_is_refused() {
    let w = World::new().await;
    w.create("olga", "team", &[]).await;
    assert_refused(
        w.try_create("eve", "team", &[], HistoryVisibility::All)
            .await,
        ErrorCode::AlreadyExists,
        "conversation_id",
    );
}

#[tokio::test]
async fn a_group_without_a_name_gets_one_that_a_retry_finds() {
    let w = World::new().await;
    let create = async |who: &str, client_id: &str| {
        let request = CreateConversationRequest {
            context: user(who),
            client_id: client_id.into(),
            ..CreateConversationRequest::default()
        };
        let made =
            answer(w.rpc().create_conversation(Request::new(request)).await).expect("creates");
        made.conversation.expect("a conversation").conversation_id
    };
    let id = create("olga", "c1").await;
    assert_eq!(create("olga", "c1").await, id);
    assert_ne!(create("olga", "c2").await, id);
    assert_ne!(create("ada", "c1").await, id);
    assert_eq!(w.log.len(), 3);
}

#[tokio::test]
async fn strangers_and_unknown_conversations_look_the_same() {
    let w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.leave("mia", "c1", "team").await.expect("leaves");
    for id in ["team", "none"] {
        assert_refused(
            w.rename("eve", "c1", id, "x").await,
            ErrorCode::ConversationNotFound,
            "conversation_id",
        );
        assert_refused(
            w.mark("eve", id, 1).await,
            ErrorCode::ConversationNotFound,
            "conversation_id",
        );
        let request = GetConversationRequest {
            context: user("eve"),
            conversation_id: id.into(),
        };
        assert_refused(
            answer(w.rpc().get_conversation(Request::new(request)).await),
            ErrorCode::ConversationNotFound,
            "conversation_id",
        );
    }
    assert_refused(
        w.rename("mia", "c2", "team", "x").await,
        ErrorCode::NotAMember,
        "conversation_id",
    );
}

#[tokio::test]
async fn roles_decide() {
    let w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    assert_refused(
        w.rename("mia", "c1", "team", "x").await,
        ErrorCode::PermissionDenied,
        "",
    );
    assert_refused(
        w.leave("olga", "c2", "team").await,
        ErrorCode::FailedPrecondition,
        "",
    );
    assert_refused(
        w.set_role("olga", "c3", "team", "eve", Role::Admin).await,
        ErrorCode::NotFound,
        "user_id",
    );
    assert_refused(
        w.set_role("olga", "c4", "team", "mia", Role::Owner).await,
        ErrorCode::InvalidArgument,
        "role",
    );
    assert_refused(
        w.set_role("olga", "c5", "team", "mia", Role::Unspecified)
            .await,
        ErrorCode::InvalidArgument,
        "role",
    );
    w.leave("mia", "c6", "team").await.expect("leaves");
    assert_eq!(w.leave("olga", "c7", "team").await, Ok(3));
    assert!(
        w.membership("team", "olga").await.disbanded,
        "the last owner who leaves ends it"
    );
}

#[tokio::test]
async fn the_system_acts_in_nobody_s_name_and_names_the_owner() {
    let w = World::new().await;
    let mut request = CreateConversationRequest {
        context: context(ActorKind::System, "", ""),
        client_id: "c1".into(),
        conversation_id: "team".into(),
        member_ids: vec!["mia".into()],
        ..CreateConversationRequest::default()
    };
    let refused = answer(
        w.rpc()
            .create_conversation(Request::new(request.clone()))
            .await,
    );
    assert_refused(refused, ErrorCode::InvalidArgument, "owner_id");
    request.owner_id = "olga".into();
    let created = answer(
        w.rpc()
            .create_conversation(Request::new(request.clone()))
            .await,
    )
    .expect("creates");
    assert_eq!(created.role(), Role::Unspecified);
    assert_eq!(w.log.events()[0].sender_id, "");
    assert_eq!(w.membership("team", "olga").await.role(), Role::Owner);
    request.context = user("eve");
    request.conversation_id = "other".into();
    let refused = answer(w.rpc().create_conversation(Request::new(request)).await);
    assert_refused(refused, ErrorCode::InvalidArgument, "owner_id");
}

#[tokio::test]
async fn malformed_ids_are_named() {
    let w = World::new().await;
    w.create("olga", "team", &[]).await;
    assert_refused(
        w.rename("olga", "", "team", "x").await,
        ErrorCode::InvalidArgument,
        "client_id",
    );
    assert_refused(
        w.rename("olga", "flare:1", "team", "x").await,
        ErrorCode::InvalidArgument,
        "client_id",
    );
    assert_refused(
        w.rename("olga", "c1", "a/b", "x").await,
        ErrorCode::InvalidArgument,
        "conversation_id",
    );
    assert_refused(
        w.add("olga", "c1", "team", &["a\nb"]).await,
        ErrorCode::InvalidArgument,
        "user_ids",
    );
    assert_refused(
        w.add("olga", "c1", "team", &[]).await,
        ErrorCode::InvalidArgument,
        "user_ids",
    );
    assert_refused(
        w.remove("olga", "c1", "team", "..").await,
        ErrorCode::InvalidArgument,
        "user_id",
    );
    assert_refused(
        w.try_create("olga", "d_abc", &[], HistoryVisibility::All)
            .await,
        ErrorCode::InvalidArgument,
        "conversation_id",
    );
    assert_eq!(w.log.len(), 1);
}

#[tokio::test]
async fn a_direct_conversation_takes_no_commands() {
    let mut w = World::new().await;
    let id = w.log.say_directly("alice", "bob");
    w.feed().await;
    assert_refused(
        w.rename("alice", "c1", &id, "x").await,
        ErrorCode::FailedPrecondition,
        "conversation_id",
    );
    assert_refused(
        w.leave("eve", "c1", &id).await,
        ErrorCode::ConversationNotFound,
        "conversation_id",
    );
}

#[tokio::test]
async fn pages_of_members_follow_each_other_and_belong_to_their_conversation() {
    let w = World::new().await;
    w.create("olga", "team", &["ada", "mia", "max"]).await;
    w.create("olga", "other", &["ada"]).await;
    let list = async |id: &str, page_size: Option<u32>, token: &str| {
        let request = ListMembersRequest {
            context: user("olga"),
            conversation_id: id.into(),
            page_size,
            page_token: token.into(),
        };
        answer(w.rpc().list_members(Request::new(request)).await)
    };
    let first = list("team", Some(3), "").await.expect("a page");
    let names = |members: &[flare_proto::message::EventMember]| {
        members
            .iter()
            .map(|it| it.user_id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&first.members), ["ada", "max", "mia"]);
    let second = list("team", Some(3), &first.next_page_token)
        .await
        .expect("a page");
    assert_eq!(
        (names(&second.members), second.next_page_token.as_str()),
        (vec!["olga".to_owned()], "")
    );
    let foreign = list("other", Some(3), &first.next_page_token).await;
    assert_refused(foreign, ErrorCode::InvalidPageToken, "page_token");
    assert_refused(
        list("team", None, "!").await,
        ErrorCode::InvalidPageToken,
        "page_token",
    );
    for size in [0, 201, 1_000_000_000] {
        assert_refused(
            list("team", Some(size), "").await,
            ErrorCode::InvalidArgument,
            "page_size",
        );
    }
}

#[tokio::test]
async fn limits_are_kept_and_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let _here = metrics::set_default_local_recorder(&recorder);
    let config = SessionConfig {
        max_group_members: 2,
        max_large_members: 3,
        max_conversations_per_user: 2,
        max_title_chars: 20,
        ..SessionConfig::default()
    };
    let w = World::with(config).await;
    w.create("olga", "one", &["ada", "mia"]).await;
    assert_refused(
        w.add("olga", "c1", "one", &["max"]).await,
        ErrorCode::LimitExceeded,
        "",
    );
    assert_refused(
        w.rename("olga", "c2", "one", &"x".repeat(21)).await,
        ErrorCode::InvalidArgument,
        "title",
    );
    w.create("olga", "two", &[]).await;
    assert_refused(
        w.try_create("olga", "three", &[], HistoryVisibility::All)
            .await,
        ErrorCode::LimitExceeded,
        "",
    );
    assert_refused(
        w.try_create("max", "three", &["olga"], HistoryVisibility::All)
            .await,
        ErrorCode::LimitExceeded,
        "",
    );
    for limit in ["members", "conversations", "title_chars"] {
        let line = format!("flare_session_limit_reached_total{{limit=\"{limit}\"}}");
        assert!(rendered.render().contains(&line), "{line}");
    }
    // What was refused holds no room: max is in none. What ended holds none either.
    w.disband("olga", "c3", "two").await.expect("disbands");
    w.create("olga", "three", &["max"]).await;
    w.leave("max", "c4", "three").await.expect("leaves");
    w.create("max", "four", &[]).await;
    w.create("max", "five", &[]).await;
    assert_eq!(w.log.events_of("three").len(), 2);
}

#[tokio::test]
async fn who_comes_back_is_a_member_from_there_on() {
    let w = World::new().await;
    w.try_create("olga", "team", &["mia"], HistoryVisibility::SinceJoin)
        .await
        .expect("creates");
    let first = w.membership("team", "mia").await;
    assert_eq!(
        (first.state(), first.visible_from_seq, first.visible_to_seq),
        (MembershipState::Active, 1, 0)
    );
    w.leave("mia", "c1", "team").await.expect("leaves");
    let gone = w.membership("team", "mia").await;
    assert_eq!(
        (gone.state(), gone.visible_from_seq, gone.visible_to_seq),
        (MembershipState::Former, 1, 2)
    );
    w.log.say("team", "olga");
    w.add("olga", "c2", "team", &["mia"]).await.expect("adds");
    let back = w.membership("team", "mia").await;
    assert_eq!(
        (back.state(), back.visible_from_seq, back.visible_to_seq),
        (MembershipState::Active, 4, 0)
    );
    assert_eq!(back.as_of, 4);
}
