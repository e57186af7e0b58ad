//! The service over the embedded log and store, reached as other services reach it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "service/deployment.rs"]
mod deployment;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use deployment::{Deployment, added, code, config, placed, recall, text};
use flare_message_orchestrator::{
    application::ports::{HookContext, HookResult, MessageDraft, PreSendHook},
    config::{OrchestratorConfig, RateConfig},
};
use flare_proto::{
    common::ErrorCode,
    message::{EventKind, Receipt, ReceiptBatch, SubmitBatch, SubmitItem},
};
use flare_server_core::error::Refusal;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

async fn submit(deployment: &Deployment, items: Vec<SubmitItem>) -> Vec<Receipt> {
    let answer = deployment
        .client()
        .submit_once(SubmitBatch { items })
        .await
        .expect("receipts");
    answer.into_inner().receipts
}

async fn submit_one(deployment: &Deployment, item: SubmitItem) -> Receipt {
    submit(deployment, vec![item]).await.remove(0)
}

/// The receipts of `count` items.
async fn receipts(stream: &mut Streaming<ReceiptBatch>, count: usize) -> Vec<Receipt> {
    let mut all = Vec::new();
    while all.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(20), stream.message())
            .await
            .expect("in time");
        all.extend(next.expect("no error").expect("not the end").receipts);
    }
    all
}

async fn open(deployment: &Deployment) -> (mpsc::Sender<SubmitBatch>, Streaming<ReceiptBatch>) {
    let (sender, receiver) = mpsc::channel(16);
    let stream = deployment
        .client()
        .submit(ReceiverStream::new(receiver))
        .await
        .expect("a stream");
    (sender, stream.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gets_a_receipt_for_each_item_and_ends_after_the_last() {
    let deployment = Deployment::start(config()).await;
    let (items, mut answers) = open(&deployment).await;
    let mut all = Vec::new();
    for batch in 0..20_u64 {
        let batch = (0..50)
            .map(|it| SubmitItem {
                correlation: batch * 50 + it,
                ..text("alice", "bob", &format!("{batch}-{it}"))
            })
            .collect();
        items
            .send(SubmitBatch { items: batch })
            .await
            .expect("read");
        all.extend(receipts(&mut answers, 50).await);
    }
    drop(items);
    assert!(answers.message().await.expect("no error").is_none());
    let seqs: Vec<_> = all
        .iter()
        .map(|it| (it.correlation, placed(it).seq))
        .collect();
    assert_eq!(seqs, (0..1_000).map(|it| (it, it + 1)).collect::<Vec<_>>());
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_form_is_refused_beside_what_is_right() {
    let deployment = Deployment::start(config()).await;
    let items = vec![
        text("alice", "bob", "1"),
        text("alice", "alice", "2"),
        SubmitItem {
            client_id: "flare:3".into(),
            ..text("alice", "bob", "3")
        },
        text("alice", "bob", "1"),
    ];
    let receipts = submit(&deployment, items).await;
    assert_eq!(placed(&receipts[0]).seq, 1);
    assert_eq!(
        (code(&receipts[1]), code(&receipts[2])),
        (ErrorCode::InvalidArgument, ErrorCode::InvalidArgument)
    );
    assert!(placed(&receipts[3]).duplicate);
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_a_retry_gets_its_first_receipt_and_a_recall_finds_its_message() {
    let deployment = Deployment::start(config()).await;
    let first = placed(&submit_one(&deployment, text("alice", "bob", "1")).await);
    let folder = deployment.stop().await;
    let deployment = Deployment::start_in(folder, config(), Vec::new()).await;
    let again = placed(&submit_one(&deployment, text("alice", "bob", "1")).await);
    assert_eq!(
        (&again.message_id, again.seq, again.duplicate),
        (&first.message_id, 1, true)
    );
    let item = |sender: &str, id: &str| SubmitItem {
        conversation_id: first.conversation_id.clone(),
        peer_user_id: String::new(),
        ..recall(sender, 1, id)
    };
    assert_eq!(
        code(&submit_one(&deployment, item("bob", "2")).await),
        ErrorCode::PermissionDenied
    );
    assert_eq!(
        code(&submit_one(&deployment, item("mallory", "2")).await),
        ErrorCode::ConversationNotFound
    );
    assert_eq!(
        placed(&submit_one(&deployment, item("alice", "2")).await).seq,
        2
    );
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_rate_limit_a_lane_waits_for_the_refused_item() {
    let rate = RateConfig {
        user_per_s: 10,
        user_burst: 1,
        ..RateConfig::default()
    };
    let deployment = Deployment::start(OrchestratorConfig { rate, ..config() }).await;
    let (items, mut answers) = open(&deployment).await;
    let item = |id: &str, lane_generation| SubmitItem {
        lane: 9,
        lane_generation,
        ..text("alice", "bob", id)
    };
    let batch = vec![item("1", 0), item("2", 0), item("3", 0)];
    items
        .send(SubmitBatch { items: batch })
        .await
        .expect("read");
    let all = receipts(&mut answers, 3).await;
    let mut codes: Vec<_> = all
        .iter()
        .filter(|it| !deployment::is_placed(it))
        .map(code)
        .collect();
    codes.sort();
    assert_eq!(codes, [ErrorCode::RateLimited, ErrorCode::RetryInOrder]);
    // Refused until its time comes, each time with a generation of its own.
    let resend = async {
        for generation in 1.. {
            items
                .send(SubmitBatch {
                    items: vec![item("2", generation)],
                })
                .await
                .expect("read");
            let answer = receipts(&mut answers, 1).await.remove(0);
            if deployment::is_placed(&answer) {
                return answer;
            }
        }
        unreachable!("generations do not end")
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), resend)
        .await
        .expect("its time comes");
    assert_eq!(placed(&answer).seq, 2);
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_created_by_a_service_and_its_sends_need_the_session() {
    let deployment = Deployment::start(config()).await;
    let create = deployment::created("general", "flare:1");
    assert_eq!(placed(&submit_one(&deployment, create).await).seq, 1);
    assert_eq!(
        placed(&submit_one(&deployment, added("general", "flare:2")).await).seq,
        2
    );
    let speaks = SubmitItem {
        conversation_id: "general".into(),
        peer_user_id: String::new(),
        ..text("alice", "", "1")
    };
    assert_eq!(
        code(&submit_one(&deployment, speaks).await),
        ErrorCode::Unavailable,
        "no session runs here"
    );
    let kinds: Vec<_> = deployment
        .events("general")
        .await
        .iter()
        .map(|it| it.kind())
        .collect();
    assert_eq!(
        kinds,
        [EventKind::ConversationCreated, EventKind::MembersAdded]
    );
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_uses_ends_with_the_drain() {
    let deployment = Deployment::start(config()).await;
    let (unused, mut never_used) = open(&deployment).await;
    let (used, mut once_used) = open(&deployment).await;
    let batch = SubmitBatch {
        items: vec![text("alice", "bob", "1")],
    };
    used.send(batch).await.expect("taken");
    placed(&receipts(&mut once_used, 1).await[0]);
    deployment.stop().await;
    for stream in [&mut never_used, &mut once_used] {
        let end = tokio::time::timeout(Duration::from_secs(20), stream.message()).await;
        let status = end.expect("in time").expect_err("the end");
        assert_eq!(status.code(), tonic::Code::Unavailable);
    }
    drop((unused, used));
}

/// However far a command has come when the process begins to drain.
#[tokio::test]
async fn a_drain_leaves_nobody_without_an_answer() {
    for _ in 0..8 {
        let deployment = Deployment::start(config()).await;
        let mut asked = JoinSet::new();
        for steps in 0..40 {
            let mut client = deployment.client();
            let items = vec![text(&format!("user-{steps}"), "bob", "1")];
            asked.spawn(async move {
                steps_of_others(steps).await;
                client.submit_once(SubmitBatch { items }).await
            });
        }
        steps_of_others(30).await;
        deployment.stop().await;
        let answers = tokio::time::timeout(Duration::from_secs(20), asked.join_all()).await;
        for answer in answers.expect("everybody is answered") {
            match answer {
                Ok(receipts) => {
                    let receipt = &receipts.into_inner().receipts[0];
                    let placed = deployment::is_placed(receipt);
                    assert!(placed || code(receipt) == ErrorCode::Unavailable);
                }
                Err(status) => assert_eq!(status.code(), tonic::Code::Unavailable),
            }
        }
    }
}

/// Lets every task that can go on go on so often.
async fn steps_of_others(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

struct Censor;

#[async_trait]
impl PreSendHook for Censor {
    fn name(&self) -> &'static str {
        "censor"
    }

    async fn handle(&self, _: &HookContext, msg: &mut MessageDraft) -> HookResult {
        if msg.content.windows(3).any(|it| it == b"bad") {
            return HookResult::Stop {
                error: Refusal::new(ErrorCode::StoppedByHook, "mind your words"),
            };
        }
        HookResult::Continue
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_stops_a_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let deployment = Deployment::start_in(folder, config(), vec![Arc::new(Censor)]).await;
    let receipts = submit(
        &deployment,
        vec![text("alice", "bob", "bad"), text("alice", "bob", "good")],
    )
    .await;
    assert_eq!(code(&receipts[0]), ErrorCode::StoppedByHook);
    assert_eq!(placed(&receipts[1]).seq, 1);
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_full_disk_refuses_commands_and_holds_up_nobody_else() {
    let deployment = Deployment::start(config()).await;
    let first = submit_one(&deployment, text("alice", "bob", "one")).await;
    assert_eq!(placed(&first).seq, 1);
    let folder = deployment.stop().await;

    let deployment = Deployment::start_on_full_disk(folder).await;
    let refused = submit_one(&deployment, text("alice", "bob", "two")).await;
    assert_eq!(code(&refused), ErrorCode::ResourceExhausted);
    let conversation = &placed(&first).conversation_id;
    assert_eq!(deployment.events(conversation).await.len(), 1);
    deployment.stop().await;
}
