//! What can happen between a decision and its event: each line becomes one event, whatever fails.

use std::sync::Arc;

use flare_proto::{
    common::{ErrorCode, RequestContext},
    message::{HistoryVisibility, Role},
    session::{MembershipState, RenameConversationRequest, session_service_server::SessionService},
};
use flare_server_core::{shutdown::Shutdown, telemetry::TraceId};
use flare_session::application::ports::RosterStore;
use flare_storage_model::ConversationKey;
use tokio::sync::Notify;
use tonic::Request;

use super::{
    fake_log::{Fault, TENANT},
    world::{World, assert_refused, until, user},
};

/// Runs the sweeper until nothing waits.
async fn sweep(w: &World) {
    let shutdown = Shutdown::new();
    let waiting = async {
        until("the outbox is empty", async || {
            use flare_session::application::ports::ConversationStore;
            w.store
                .pending_conversations()
                .await
                .expect("answers")
                .is_empty()
        })
        .await;
        shutdown.drain();
    };
    let (swept, ()) = tokio::join!(w.session.outbox.sweep(&shutdown), waiting);
    swept.expect("sweeps");
}

#[tokio::test]
async fn a_change_that_does_not_reach_the_log_does_not_count_and_is_made_later() {
    let w = World::new().await;
    w.create("olga", "team", &[]).await;
    w.log.fail_next(&[Fault::LostBefore]);
    let refusal = w
        .add("olga", "c1", "team", &["mia"])
        .await
        .expect_err("is not known");
    assert_eq!(refusal.code, ErrorCode::Unavailable);
    assert!(refusal.retry_after.is_some());
    assert_eq!(
        w.membership("team", "mia").await.state(),
        MembershipState::Stranger
    );
    assert_eq!(w.membership("team", "olga").await.as_of, 1);
    assert_eq!(w.add("olga", "c1", "team", &["mia"]).await, Ok(2));
    assert_eq!(
        w.membership("team", "mia").await.state(),
        MembershipState::Active
    );
    assert_eq!(w.log.events_of("team").len(), 2);
}

#[tokio::test]
async fn a_change_whose_receipt_is_lost_becomes_one_event() {
    let w = World::new().await;
    w.log.fail_next(&[Fault::LostAfter]);
    let outcome = w
        .try_create("olga", "team", &["mia"], HistoryVisibility::All)
        .await;
    assert_refused(outcome, ErrorCode::Unavailable, "");
    assert_eq!(
        w.membership("team", "olga").await.state(),
        MembershipState::ConversationUnknown
    );
    w.create("olga", "team", &["mia"]).await;
    assert_eq!(w.log.events_of("team").len(), 1);
    assert_eq!(w.membership("team", "mia").await.role(), Role::Member);
}

#[tokio::test]
async fn the_sweeper_makes_what_nobody_retries() {
    let w = World::new().await;
    w.create("olga", "team", &[]).await;
    w.log
        .fail_next(&[Fault::LostBefore, Fault::LostAfter, Fault::LostBefore]);
    assert!(w.add("olga", "c1", "team", &["mia"]).await.is_err());
    sweep(&w).await;
    assert_eq!(
        w.membership("team", "mia").await.state(),
        MembershipState::Active
    );
    let changes = w.log.changes();
    assert_eq!(changes.values().map(Vec::len).collect::<Vec<_>>(), [2]);
    assert_eq!(w.log.events_of("team").len(), 2);
    assert_eq!(w.add("olga", "c1", "team", &["mia"]).await, Ok(2));
}

#[tokio::test]
async fn a_crash_between_commit_and_submit_loses_nothing() {
    let mut w = World::new().await;
    w.create("olga", "team", &[]).await;
    w.log.set_down(true);
    assert!(w.add("olga", "c1", "team", &["mia"]).await.is_err());
    w.restart(false).await;
    w.log.set_down(false);
    assert_eq!(
        w.membership("team", "mia").await.state(),
        MembershipState::Stranger
    );
    sweep(&w).await;
    assert_eq!(
        w.membership("team", "mia").await.state(),
        MembershipState::Active
    );
    assert_eq!(w.log.events_of("team").len(), 2);
}

#[tokio::test]
async fn a_change_bears_the_trace_of_its_request_whoever_submits_it() {
    let mut w = World::new().await;
    w.create("olga", "team", &[]).await;
    let trace = TraceId::from_bytes([7; 16]).expect("is not zero");
    let rename = |client_id: &str| RenameConversationRequest {
        context: user("olga").map(|it| RequestContext {
            trace_id: trace.to_string(),
            ..it
        }),
        client_id: client_id.into(),
        conversation_id: "team".into(),
        title: client_id.into(),
    };
    let at_once = w.rpc().rename_conversation(Request::new(rename("one")));
    at_once.await.expect("is done");
    w.log.set_down(true);
    let later = w.rpc().rename_conversation(Request::new(rename("two")));
    later.await.expect_err("is not known");
    w.restart(false).await;
    w.log.set_down(false);
    sweep(&w).await;
    let traces: Vec<_> = w
        .log
        .events_of("team")
        .iter()
        .map(|it| TraceId::from_slice(&it.trace_id))
        .collect();
    assert_eq!(traces, [None, Some(trace), Some(trace)]);
}

#[tokio::test]
async fn a_crash_between_submit_and_the_writing_of_the_seq_makes_no_second_event() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.fail_next(&[Fault::LostAfter]);
    assert!(w.remove("olga", "c1", "team", "mia").await.is_err());
    w.restart(false).await;
    // The row counts until its event's seq is written to it; what is answered says up to where.
    let before = w.membership("team", "mia").await;
    assert_eq!((before.state(), before.as_of), (MembershipState::Active, 1));
    sweep(&w).await;
    let after = w.membership("team", "mia").await;
    assert_eq!(
        (after.state(), after.visible_to_seq, after.as_of),
        (MembershipState::Former, 2, 2)
    );
    assert_eq!(w.log.events_of("team").len(), 2);
    assert_eq!(w.remove("olga", "c1", "team", "mia").await, Ok(2));
}

#[tokio::test]
async fn the_next_command_waits_for_what_is_pending() {
    let w = World::new().await;
    w.create("olga", "team", &[]).await;
    w.log.fail_next(&[Fault::LostBefore, Fault::LostBefore]);
    assert!(w.rename("olga", "c1", "team", "one").await.is_err());
    // The second command is not decided before the first is in the log.
    assert_refused(
        w.rename("olga", "c2", "team", "two").await,
        ErrorCode::Unavailable,
        "",
    );
    assert_eq!(w.rename("olga", "c3", "team", "three").await, Ok(3));
    assert_eq!(w.rename("olga", "c1", "team", "one").await, Ok(2));
    assert_eq!(w.log.events_of("team").len(), 3);
}

#[tokio::test]
async fn what_the_log_refuses_for_good_is_taken_back() {
    let w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.leave("mia", "c0", "team").await.expect("leaves");
    w.log.fail_next(&[Fault::Refuse]);
    assert_refused(
        w.add("olga", "c1", "team", &["mia", "max"]).await,
        ErrorCode::StoppedByHook,
        "",
    );
    assert_eq!(
        w.membership("team", "max").await.state(),
        MembershipState::Stranger
    );
    assert_eq!(
        w.membership("team", "mia").await.state(),
        MembershipState::Former
    );
    assert_eq!(w.add("olga", "c1", "team", &["mia", "max"]).await, Ok(3));
    w.log.fail_next(&[Fault::Refuse]);
    let refused = w
        .try_create("olga", "other", &["max"], HistoryVisibility::All)
        .await;
    assert_refused(refused, ErrorCode::StoppedByHook, "");
    w.create("max", "other", &[]).await;
}

#[tokio::test]
async fn a_caller_who_gives_up_leaves_his_change_to_the_sweeper() {
    let w = World::new().await;
    w.create("olga", "team", &[]).await;
    let held = Arc::new(Notify::new());
    *w.log.held.lock().expect("not poisoned") = Some(Arc::clone(&held));
    // The permit of the first submission.
    w.log.submitting.notified().await;
    tokio::select! {
        _ = w.rename("olga", "c1", "team", "one") => panic!("it is held"),
        () = w.log.submitting.notified() => {}
    }
    *w.log.held.lock().expect("not poisoned") = None;
    sweep(&w).await;
    assert_eq!(w.rename("olga", "c1", "team", "one").await, Ok(2));
    assert_eq!(w.log.events_of("team").len(), 2);
}

/// The caller gives up when the rows are written, before whoever writes them has heard of it.
#[tokio::test]
async fn a_caller_who_gives_up_leaves_no_old_roster_behind() {
    let mut w = World::new().await;
    w.create("olga", "team", &[]).await;
    let key = ConversationKey::new(TENANT, "team");
    let mut given_up = false;
    for attempt in 0..1_000 {
        let (add, remove) = (format!("add-{attempt}"), format!("remove-{attempt}"));
        w.add("olga", &add, "team", &["mia"]).await.expect("adds");
        assert_eq!(w.membership("team", "mia").await.role(), Role::Member);
        let mut removing = std::pin::pin!(w.remove("olga", &remove, "team", "mia"));
        while !given_up && futures::poll!(removing.as_mut()).is_pending() {
            let roster = w.store.roster(&key).await.expect("answers").expect("there");
            given_up = !roster.members.as_ref().expect("all").contains_key("mia");
        }
        if given_up {
            break;
        }
    }
    assert!(given_up);
    w.feed().await;
    let shutdown = Shutdown::new();
    let noticing = async {
        until("mia is no member any more", async || {
            w.membership("team", "mia").await.state() == MembershipState::Former
        })
        .await;
        shutdown.drain();
    };
    let (swept, ()) = tokio::join!(w.session.outbox.sweep(&shutdown), noticing);
    swept.expect("sweeps");
}

#[tokio::test]
async fn commands_of_one_conversation_come_one_after_the_other() {
    let w = World::new().await;
    w.create("olga", "team", &[]).await;
    let commands = (0..20).map(|index| {
        let w = &w;
        async move {
            w.rename(
                "olga",
                &format!("c{index}"),
                "team",
                &format!("title {index}"),
            )
            .await
        }
    });
    let mut seqs: Vec<_> = futures::future::join_all(commands)
        .await
        .into_iter()
        .map(|it| it.expect("renames"))
        .collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (2..=21).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_answer_waits_for_a_change_that_is_in_flight() {
    let w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    let held = Arc::new(Notify::new());
    *w.log.held.lock().expect("not poisoned") = Some(Arc::clone(&held));
    w.log.submitting.notified().await;
    let asking = async {
        w.log.submitting.notified().await;
        let mut answer = std::pin::pin!(w.membership("team", "mia"));
        assert!(futures::poll!(answer.as_mut()).is_pending());
        held.notify_one();
        answer.await
    };
    let (removed, answer) = tokio::join!(w.remove("olga", "c1", "team", "mia"), asking);
    assert_eq!(removed, Ok(2));
    assert_eq!((answer.state(), answer.as_of), (MembershipState::Former, 2));
}
