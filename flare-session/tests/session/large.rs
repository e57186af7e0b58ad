//! Large conversations through the service.

use std::sync::Arc;

use flare_proto::{
    common::ErrorCode,
    message::{ConversationClass, Role},
    session::{
        CreateConversationRequest, GetConversationRequest, LargeConversationsRequest,
        LargeConversationsResponse, ListMembersRequest, ListPositionsRequest, MembersRequest,
        MembershipState, UserName, session_service_server::SessionService,
    },
};
use flare_session::{
    SessionConfig,
    application::ports::{Audience, Signal},
};
use tonic::Request;

use crate::{
    fake_log::TENANT,
    world::{World, answer, assert_refused, until, user},
};

/// Groups of three, large ones of up to 2,000.
async fn world() -> World {
    let config = SessionConfig {
        max_group_members: 3,
        max_large_members: 2_000,
        ..SessionConfig::default()
    };
    World::with(config).await
}

async fn places(w: &World, users: &[&str]) -> LargeConversationsResponse {
    let users = users.iter().map(|it| UserName {
        tenant_id: TENANT.into(),
        user_id: (*it).into(),
    });
    let request = LargeConversationsRequest {
        context: None,
        users: users.collect(),
    };
    answer(w.rpc().large_conversations(Request::new(request)).await).expect("answers")
}

/// Whose and since when, of the one that there is.
async fn told(w: &World, users: &[&str]) -> Vec<(u32, u64, u64)> {
    let found = places(w, users).await;
    assert!(found.incomplete.is_empty());
    let all = found.memberships.into_iter();
    all.map(|it| (it.user_index, it.joined_seq, it.as_of))
        .collect()
}

async fn class(w: &World, id: &str) -> ConversationClass {
    let request = GetConversationRequest {
        context: user("olga"),
        conversation_id: id.into(),
    };
    let found = answer(w.rpc().get_conversation(Request::new(request)).await);
    found.expect("is seen").conversation.expect("named").class()
}

#[tokio::test]
async fn a_group_that_outgrows_its_limit_goes_on_as_a_large_conversation() {
    let mut w = world().await;
    w.create("olga", "team", &["ada", "mia"]).await;
    assert_eq!(class(&w, "team").await, ConversationClass::Group);
    assert!(told(&w, &["olga"]).await.is_empty());
    let grew = w.add("olga", "c1", "team", &["max"]).await.expect("adds");
    assert_eq!(class(&w, "team").await, ConversationClass::Large);
    assert_eq!(
        told(&w, &["max", "eve", "mia"]).await,
        [(0, grew, grew), (2, 1, grew)]
    );
    let member = w.membership("team", "mia").await;
    assert_eq!(
        (member.state(), member.role(), member.class(), member.as_of),
        (
            MembershipState::Active,
            Role::Member,
            ConversationClass::Large,
            grew
        )
    );
    let left = w.leave("mia", "c2", "team").await.expect("leaves");
    let former = w.membership("team", "mia").await;
    assert_eq!(
        (former.state(), former.visible_to_seq),
        (MembershipState::Former, left)
    );
    assert_eq!(
        w.membership("team", "eve").await.state(),
        MembershipState::Stranger
    );
    // Smaller again, it stays what it is, and roles and ownership go on.
    w.set_role("olga", "c3", "team", "ada", Role::Admin)
        .await
        .expect("sets");
    w.transfer("olga", "c4", "team", "max")
        .await
        .expect("hands over");
    assert_eq!(class(&w, "team").await, ConversationClass::Large);
    assert_refused(
        w.remove("mia", "c5", "team", "ada").await,
        ErrorCode::NotAMember,
        "conversation_id",
    );
    w.feed().await;
    let inbox = w.sync("ada", "", 50).await.expect("syncs");
    let entry = inbox.entries.first().expect("one").clone();
    let conversation = entry.conversation.expect("named");
    assert_eq!(
        (conversation.class(), conversation.member_count, entry.role),
        (ConversationClass::Large, 3, Role::Admin.into())
    );
    w.disband("max", "c6", "team").await.expect("disbands");
    assert!(told(&w, &["olga", "max"]).await.is_empty());
}

#[tokio::test]
async fn a_conversation_is_large_from_its_beginning_if_that_is_asked_for() {
    let w = world().await;
    let create = async |class: ConversationClass, id: &str| {
        let request = CreateConversationRequest {
            context: user("olga"),
            client_id: id.into(),
            conversation_id: id.into(),
            class: class.into(),
            ..CreateConversationRequest::default()
        };
        answer(w.rpc().create_conversation(Request::new(request)).await)
    };
    let made = create(ConversationClass::Large, "hall")
        .await
        .expect("creates");
    let made = made.conversation.expect("named");
    assert_eq!(
        (made.class(), made.member_count),
        (ConversationClass::Large, 1)
    );
    assert_eq!(told(&w, &["olga"]).await, [(0, 1, 1)]);
    assert_refused(
        create(ConversationClass::Direct, "pair").await,
        ErrorCode::InvalidArgument,
        "class",
    );
}

#[tokio::test]
async fn members_of_a_large_one_and_their_positions_come_in_pages_and_unread_is_exact() {
    let mut w = world().await;
    let names: Vec<String> = (0..1_500).map(|it| format!("user-{it:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    w.create("olga", "hall", &names[..999]).await;
    w.add("olga", "c1", "hall", &names[999..])
        .await
        .expect("adds");
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListMembersRequest {
            context: user("olga"),
            conversation_id: "hall".into(),
            page_size: Some(200),
            page_token,
        };
        let page = answer(w.rpc().list_members(Request::new(request)).await).expect("a page");
        listed.extend(page.members.into_iter().map(|it| it.user_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed.len(), 1_501);
    assert_eq!(listed.first().map(String::as_str), Some("olga"));
    assert!(listed.is_sorted());
    let request = MembersRequest {
        tenant_id: TENANT.into(),
        conversation_id: "hall".into(),
        ..MembersRequest::default()
    };
    let roster = answer(w.rpc().members(Request::new(request)).await).expect("a page");
    assert_eq!((roster.version, roster.members.len()), (2, 1_000));
    assert_eq!(roster.joined_seqs.iter().max(), Some(&1));
    assert!(!roster.next_page_token.is_empty());

    for _ in 0..3 {
        w.log.say("hall", "olga");
    }
    w.feed().await;
    let unread = async |who: &str| {
        let inbox = w.sync(who, "", 50).await.expect("syncs");
        inbox.entries.first().map(|it| it.unread_count)
    };
    assert_eq!(unread("user-1400").await, Some(3));
    w.mark("user-1400", "hall", 4).await.expect("marks");
    assert_eq!(unread("user-1400").await, Some(1));
    w.write_positions().await;
    let request = ListPositionsRequest {
        context: user("olga"),
        conversation_id: "hall".into(),
        page_size: Some(200),
        page_token: String::new(),
    };
    let page = answer(w.rpc().list_positions(Request::new(request)).await).expect("a page");
    assert_eq!(page.positions.len(), 200);
    assert!(!page.next_page_token.is_empty());
}

#[tokio::test]
async fn who_read_a_large_conversation_is_told_to_his_own_devices_alone() {
    let mut w = world().await;
    w.create("olga", "hall", &["ada", "mia", "max"]).await;
    w.create("olga", "team", &["ada"]).await;
    w.log.say("hall", "mia");
    w.log.say("team", "olga");
    w.feed().await;
    let running = tokio::spawn({
        let (signals, shutdown) = (Arc::clone(&w.session.signals), w.shutdown.clone());
        async move { signals.run(&shutdown).await }
    });
    w.mark("olga", "hall", 2).await.expect("marks");
    w.mark("ada", "hall", 2).await.expect("marks");
    w.mark("ada", "team", 2).await.expect("marks");
    let to_all = |it: &Signal| it.audience == Audience::Participants;
    until("the group is told", async || {
        w.heard.0.lock().expect("not poisoned").iter().any(to_all)
    })
    .await;
    let heard = w.heard.0.lock().expect("not poisoned").clone();
    let told: Vec<_> = heard
        .iter()
        .filter(|it| to_all(it))
        .map(|it| &*it.key.conversation)
        .collect();
    assert_eq!(told, ["team"]);
    w.shutdown.drain();
    running.await.expect("ends");
}

#[tokio::test]
async fn a_question_names_at_most_five_hundred_users() {
    let w = world().await;
    let names: Vec<String> = (0..501).map(|it| format!("user-{it}")).collect();
    let users = names.iter().map(|it| UserName {
        tenant_id: TENANT.into(),
        user_id: it.clone(),
    });
    let request = LargeConversationsRequest {
        context: None,
        users: users.collect(),
    };
    assert_refused(
        answer(w.rpc().large_conversations(Request::new(request)).await),
        ErrorCode::InvalidArgument,
        "users",
    );
}
