//! What other services are told: memberships and rosters.

use flare_proto::{
    common::{ActorKind, ErrorCode},
    message::{ConversationClass, HistoryVisibility, Role},
    session::{
        GetConversationRequest, MembersRequest, MembersResponse, MembershipState,
        session_service_server::SessionService,
    },
};
use flare_server_core::error::Refusal;
use tonic::Request;

use super::{
    fake_log::TENANT,
    world::{World, answer, assert_refused, context, user},
};

async fn members(w: &World, id: &str, known_version: u64) -> Result<MembersResponse, Refusal> {
    let request = MembersRequest {
        tenant_id: TENANT.into(),
        conversation_id: id.into(),
        known_version,
        ..MembersRequest::default()
    };
    answer(w.rpc().members(Request::new(request)).await)
}

#[tokio::test]
async fn an_answer_says_up_to_which_member_event_it_goes() {
    let w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "mia");
    w.rename("olga", "c1", "team", "no member event")
        .await
        .expect("renames");
    assert_eq!(w.membership("team", "mia").await.as_of, 1);
    w.set_role("olga", "c2", "team", "mia", Role::Admin)
        .await
        .expect("sets");
    let membership = w.membership("team", "mia").await;
    assert_eq!((membership.as_of, membership.role()), (4, Role::Admin));
    assert_eq!(membership.class(), ConversationClass::Group);
    w.disband("olga", "c3", "team").await.expect("disbands");
    let ended = w.membership("team", "mia").await;
    assert_eq!(
        (ended.state(), ended.disbanded, ended.as_of),
        (MembershipState::Active, true, 5)
    );
}

#[tokio::test]
async fn late_joiners_see_what_the_group_lets_them_see() {
    let w = World::new().await;
    w.create("olga", "open", &[]).await;
    w.try_create("olga", "closed", &[], HistoryVisibility::SinceJoin)
        .await
        .expect("creates");
    for id in ["open", "closed"] {
        w.log.say(id, "olga");
        w.add("olga", "c1", id, &["mia"]).await.expect("adds");
    }
    assert_eq!(w.membership("open", "mia").await.visible_from_seq, 1);
    assert_eq!(w.membership("closed", "mia").await.visible_from_seq, 3);
}

#[tokio::test]
async fn a_direct_conversation_is_known_by_its_first_event() {
    let mut w = World::new().await;
    let id = w.log.say_directly("bob", "alice");
    w.feed().await;
    let reads = w.log.reads();
    for who in ["alice", "bob"] {
        let membership = w.membership(&id, who).await;
        assert_eq!(
            (membership.state(), membership.role()),
            (MembershipState::Active, Role::Member)
        );
        assert_eq!(
            (membership.class(), membership.as_of),
            (ConversationClass::Direct, 0)
        );
    }
    assert_eq!(
        w.membership(&id, "eve").await.state(),
        MembershipState::Stranger
    );
    assert_eq!(w.log.reads(), reads);
}

#[tokio::test]
async fn a_direct_conversation_that_did_not_come_by_yet_is_asked_for() {
    let w = World::new().await;
    let id = w.log.say_directly("bob", "alice");
    assert_eq!(
        w.membership(&id, "alice").await.state(),
        MembershipState::Active
    );
    assert_eq!(
        w.membership("d_unheardof", "alice").await.state(),
        MembershipState::ConversationUnknown
    );
    let request = GetConversationRequest {
        context: user("alice"),
        conversation_id: id,
    };
    let seen = answer(w.rpc().get_conversation(Request::new(request)).await).expect("is seen");
    assert_eq!(
        seen.conversation.expect("a conversation").participants,
        ["alice", "bob"]
    );
}

#[tokio::test]
async fn a_roster_comes_whole_or_is_said_to_be_unchanged() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "olga");
    w.add("olga", "c1", "team", &["max"]).await.expect("adds");
    let roster = members(&w, "team", 0).await.expect("a roster");
    let names: Vec<_> = roster
        .members
        .iter()
        .map(|it| it.user_id.as_str())
        .collect();
    assert_eq!((roster.version, roster.unchanged), (3, false));
    assert_eq!(names, ["max", "mia", "olga"]);
    assert_eq!(roster.joined_seqs, [3, 1, 1]);
    let same = members(&w, "team", 3).await.expect("an answer");
    assert!(same.unchanged && same.members.is_empty());
    assert!(!members(&w, "team", 1).await.expect("a roster").unchanged);
    assert_refused(
        members(&w, "none", 0).await,
        ErrorCode::ConversationNotFound,
        "conversation_id",
    );

    let id = w.log.say_directly("alice", "bob");
    w.feed().await;
    let direct = members(&w, &id, 0).await.expect("a roster");
    assert_eq!((direct.version, direct.members.len()), (1, 2));
    assert!(members(&w, &id, 1).await.expect("an answer").unchanged);
}

#[tokio::test]
async fn a_roster_of_a_thousand_and_more_comes_in_pages() {
    let config = flare_session::SessionConfig {
        max_group_members: 2_000,
        ..flare_session::SessionConfig::default()
    };
    let w = World::with(config).await;
    let names: Vec<_> = (0..999).map(|index| format!("user-{index:04}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    w.create("olga", "team", &names).await;
    let others: Vec<_> = (0..101).map(|index| format!("visitor-{index}")).collect();
    let others: Vec<_> = others.iter().map(String::as_str).collect();
    w.add("olga", "c1", "team", &others).await.expect("adds");
    let first = members(&w, "team", 0).await.expect("a page");
    assert_eq!(first.members.len(), 1_000);
    let request = MembersRequest {
        tenant_id: TENANT.into(),
        conversation_id: "team".into(),
        page_token: first.next_page_token,
        ..MembersRequest::default()
    };
    let second = answer(w.rpc().members(Request::new(request)).await).expect("a page");
    assert_eq!(
        (second.members.len(), second.next_page_token.as_str()),
        (101, "")
    );
    assert_eq!(second.version, first.version);
}

#[tokio::test]
async fn the_system_sees_what_it_asks_for_and_nobody_is_refused() {
    let w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    let get = async |kind, who: &str| {
        let request = GetConversationRequest {
            context: context(kind, who, ""),
            conversation_id: "team".into(),
        };
        answer(w.rpc().get_conversation(Request::new(request)).await)
    };
    assert_eq!(
        get(ActorKind::System, "").await.expect("is seen").role(),
        Role::Unspecified
    );
    assert_eq!(
        get(ActorKind::Api, "mia").await.expect("is seen").role(),
        Role::Member
    );
    assert_refused(
        get(ActorKind::Unspecified, "mia").await,
        ErrorCode::Unauthenticated,
        "",
    );
    assert_refused(
        get(ActorKind::User, "").await,
        ErrorCode::InvalidArgument,
        "context.actor.user_id",
    );
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    let mut other = user("olga");
    if let Some(tenant) = other.as_mut().and_then(|it| it.tenant.as_mut()) {
        tenant.tenant_id = "other".into();
    }
    let request = GetConversationRequest {
        context: other,
        conversation_id: "team".into(),
    };
    let outcome = answer(w.rpc().get_conversation(Request::new(request)).await);
    assert_refused(outcome, ErrorCode::ConversationNotFound, "conversation_id");
}
