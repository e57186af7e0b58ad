//! Owners of partitions that change, and partitions that have none.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use flare_core_gateway::CoreGatewayConfig;
use flare_proto::{
    common::{Error, ErrorCode},
    gateway::{SendMessageRequest, SendMessagesRequest, SendOutcome, send_outcome},
    message::{Placed, Receipt, ReceiptBatch, SubmitBatch, receipt},
};
use flare_server_core::owners::{Directory, Owner};
use flare_storage_model::{ConversationKey, partition_of};

use crate::running::{Running, code, with};

const SUBMIT: &str = "MessageOrchestratorService/SubmitOnce";

/// Places what comes; what goes to these conversations it refuses once, as not its own.
fn placing(running: &Running, disowned: &[&str]) {
    let disowned: HashSet<String> = disowned.iter().map(|it| (*it).to_owned()).collect();
    let disowned = Mutex::new(disowned);
    running.inner.answer(SUBMIT, move |batch: SubmitBatch| {
        let receipts = batch.items.into_iter().map(|it| {
            let is_disowned = disowned.lock().expect("locks").remove(&it.conversation_id);
            let result = if is_disowned {
                receipt::Result::Error(Error {
                    code: ErrorCode::NotOwner.into(),
                    message: "owned elsewhere".to_owned(),
                    ..Error::default()
                })
            } else {
                receipt::Result::Placed(Placed {
                    conversation_id: it.conversation_id,
                    seq: 1,
                    ..Placed::default()
                })
            };
            Receipt {
                correlation: it.correlation,
                result: Some(result),
                ..Receipt::default()
            }
        });
        Ok(ReceiptBatch {
            receipts: receipts.collect(),
        })
    });
}

fn message(conversation: &str) -> SendMessageRequest {
    SendMessageRequest {
        conversation_id: conversation.to_owned(),
        client_id: format!("to-{conversation}"),
        content: vec![0x0a, 0x04, 0x0a, 0x02, b'h', b'i'].into(),
        ..SendMessageRequest::default()
    }
}

/// The outcomes of messages to these conversations, in one batch.
async fn sent(running: &Running, conversations: &[&str]) -> Vec<Result<String, ErrorCode>> {
    let key = running.key(&["send"]).await;
    let request = SendMessagesRequest {
        messages: conversations.iter().map(|it| message(it)).collect(),
        ..SendMessagesRequest::default()
    };
    let request = with(&[("x-api-key", &key)], request);
    let answer = running.grpc().await.send_messages(request).await;
    let outcome = |it: SendOutcome| match it.result.expect("an outcome") {
        send_outcome::Result::Placed(placed) => Ok(placed.conversation_id),
        send_outcome::Result::Error(error) => Err(code(&error)),
    };
    let outcomes = answer.expect("outcomes").into_inner().outcomes;
    outcomes.into_iter().map(outcome).collect()
}

fn here() -> Option<Owner> {
    Some(Owner {
        epoch: 1,
        endpoint: "".into(),
    })
}

/// A conversation of a partition of two.
fn of(partition: u32) -> String {
    let names = (0..).map(|it| format!("room-{it}"));
    let mut its = names
        .filter(|it| partition_of(&ConversationKey::new("default", it.as_str()), 2) == partition);
    its.next().expect("there are many")
}

#[tokio::test]
async fn what_is_refused_as_not_owned_is_asked_again_and_nothing_else_is() {
    let (running, _folder) = Running::start().await;
    placing(&running, &["moved"]);
    let outcomes = sent(&running, &["team", "moved", "fair"]).await;
    assert_eq!(
        outcomes,
        ["team", "moved", "fair"].map(|it| Ok(it.to_owned()))
    );
    let batches = running.inner.requests::<SubmitBatch>(SUBMIT);
    let of_batch = |it: &SubmitBatch| {
        it.items
            .iter()
            .map(|it| it.conversation_id.clone())
            .collect()
    };
    let asked: Vec<Vec<String>> = batches.iter().map(of_batch).collect();
    assert_eq!(asked, [vec!["team", "moved", "fair"], vec!["moved"]]);
}

#[tokio::test]
async fn a_partition_without_an_owner_is_refused_in_time_and_holds_up_no_other() {
    let config = CoreGatewayConfig {
        timeout_ms: 1_000,
        ..CoreGatewayConfig::default()
    };
    let (running, _folder) = Running::with(config).await;
    placing(&running, &[]);
    running
        .owners
        .send_replace(Arc::new(Directory::of([None, here()])));
    let (orphaned, owned) = (of(0), of(1));
    let outcomes = sent(&running, &[&orphaned, &owned]).await;
    assert_eq!(outcomes, [Err(ErrorCode::Unavailable), Ok(owned)]);
    running
        .owners
        .send_replace(Arc::new(Directory::of([here(), here()])));
    assert_eq!(sent(&running, &[&orphaned]).await, [Ok(orphaned)]);
}
