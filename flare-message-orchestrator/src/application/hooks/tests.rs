use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;

use super::*;
use crate::{
    application::ports::CheckedContent,
    domain::owner::testing::{recall, send},
};

/// Takes any content but an empty one.
struct Anything;

impl ContentRules for Anything {
    fn check(&self, content: &Bytes) -> Result<CheckedContent, Refusal> {
        if content.is_empty() {
            return Err(Refusal::invalid("content", "is empty"));
        }
        let content = content.clone();
        Ok(CheckedContent {
            body: content.clone(),
            content,
            mentions: vec!["bob".to_owned()],
            mention_all: false,
        })
    }
}

enum Does {
    Nothing,
    Append(&'static str),
    Clear,
    Stop,
    Hang,
}

struct Hook {
    does: Does,
    saw: Mutex<Vec<(HookContext, Bytes)>>,
}

impl Hook {
    fn new(does: Does) -> Arc<Self> {
        Arc::new(Self {
            does,
            saw: Mutex::default(),
        })
    }

    fn saw(&self) -> Vec<(HookContext, Bytes)> {
        self.saw.lock().expect("no panic").clone()
    }
}

#[async_trait]
impl PreSendHook for Hook {
    fn name(&self) -> &'static str {
        "test"
    }

    async fn handle(&self, ctx: &HookContext, msg: &mut MessageDraft) -> HookResult {
        self.saw
            .lock()
            .expect("no panic")
            .push((ctx.clone(), msg.content.clone()));
        match self.does {
            Does::Nothing => {}
            Does::Append(more) => msg.content = [&msg.content[..], more.as_bytes()].concat().into(),
            Does::Clear => msg.content = Bytes::new(),
            Does::Stop => {
                return HookResult::Stop {
                    error: Refusal::new(ErrorCode::StoppedByHook, "no"),
                };
            }
            Does::Hang => {
                msg.content = Bytes::from_static(b"half done");
                std::future::pending().await
            }
        }
        HookResult::Continue
    }
}

async fn ask(hooks: &[Arc<Hook>], command: &Command) -> HookVerdict {
    let hooks = hooks
        .iter()
        .map(|it| Arc::clone(it) as Arc<dyn PreSendHook>)
        .collect();
    HookChain::new(hooks, Arc::new(Anything), Duration::from_millis(20))
        .ask(command, &Spans::default())
        .await
}

#[tokio::test]
async fn each_hook_sees_what_the_one_before_made() {
    let hooks = [Hook::new(Does::Append("!")), Hook::new(Does::Append("?"))];
    let verdict = ask(&hooks, &send("alice", "bob", "1")).await;
    assert_eq!(hooks[1].saw()[0].1, "\u{a}1!");
    let HookVerdict::Amended {
        content, mentions, ..
    } = verdict
    else {
        panic!("{verdict:?}")
    };
    assert_eq!(
        (content.as_ref(), &mentions[..]),
        (&b"\x0a1!?"[..], &["bob".to_owned()][..])
    );
}

#[tokio::test]
async fn what_nobody_changed_goes_on_as_it_is() {
    assert_eq!(
        ask(&[Hook::new(Does::Nothing)], &send("alice", "bob", "1")).await,
        HookVerdict::Continue
    );
}

#[tokio::test]
async fn a_stop_ends_the_chain() {
    let hooks = [Hook::new(Does::Stop), Hook::new(Does::Nothing)];
    assert!(matches!(
        ask(&hooks, &send("alice", "bob", "1")).await,
        HookVerdict::Stop(_)
    ));
    assert!(hooks[1].saw().is_empty());
}

#[tokio::test]
async fn a_hook_without_an_answer_stops_nothing_and_leaves_nothing_behind() {
    let hooks = [Hook::new(Does::Hang), Hook::new(Does::Nothing)];
    assert_eq!(
        ask(&hooks, &send("alice", "bob", "1")).await,
        HookVerdict::Continue
    );
    assert_eq!(hooks[1].saw()[0].1, "\u{a}1");
}

#[tokio::test]
async fn a_content_that_cannot_be_sent_is_not_sent() {
    assert!(matches!(
        ask(&[Hook::new(Does::Clear)], &send("alice", "bob", "1")).await,
        HookVerdict::Stop(_)
    ));
}

#[tokio::test]
async fn hooks_know_the_message_again_and_see_messages_only() {
    let hook = [Hook::new(Does::Nothing)];
    for id in ["1", "1", "2"] {
        ask(&hook, &send("alice", "bob", id)).await;
    }
    ask(&hook, &recall("alice", "general", 1, "3")).await;
    let keys: Vec<_> = hook[0]
        .saw()
        .into_iter()
        .map(|it| it.0.idempotency_key)
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(keys[0] == keys[1] && keys[1] != keys[2]);
}
