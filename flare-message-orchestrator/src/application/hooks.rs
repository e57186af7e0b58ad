//! Asks the PreSend hooks, one after the other. Only an explicit stop stops a message.

use std::{
    fmt::Display,
    sync::Arc,
    time::{Duration, Instant},
};

use flare_server_core::telemetry::{About, Done, Spans, TraceId};

use super::ports::{ContentRules, HookContext, HookResult, MessageDraft, PreSendHook};
use crate::domain::{
    command::{Action, Command},
    owner::HookVerdict,
};

/// The hooks in the order in which they see a message.
pub struct HookChain {
    hooks: Vec<Arc<dyn PreSendHook>>,
    rules: Arc<dyn ContentRules>,
    timeout: Duration,
}

impl HookChain {
    /// Each hook has `timeout` for each message.
    pub fn new(
        hooks: Vec<Arc<dyn PreSendHook>>,
        rules: Arc<dyn ContentRules>,
        timeout: Duration,
    ) -> Self {
        Self {
            hooks,
            rules,
            timeout,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hooks.is_empty()
    }

    /// What they say of the command. What fails is reported.
    pub async fn ask(&self, command: &Command, spans: &Spans) -> HookVerdict {
        let Action::Send { content, .. } = &command.action else {
            return HookVerdict::Continue;
        };
        let context = HookContext::of(command);
        let began = Instant::now();
        let failed = |hook: &'static str, error: &dyn Display| {
            spans.report(&Done {
                trace: TraceId::from_slice(&context.trace_id),
                operation: "orchestrator.hooks",
                took: began.elapsed(),
                about: &[
                    ("hook", About::Text(hook)),
                    ("key", About::Text(&context.idempotency_key)),
                ],
                error: Some(error),
            });
        };
        let mut draft = MessageDraft {
            content: content.clone(),
        };
        for hook in &self.hooks {
            let before = draft.clone();
            let result =
                match tokio::time::timeout(self.timeout, hook.handle(&context, &mut draft)).await {
                    Ok(HookResult::Continue) => "continue",
                    Ok(HookResult::Stop { error }) => {
                        count(hook.name(), "stop");
                        return HookVerdict::Stop(error);
                    }
                    Err(_) => {
                        failed(hook.name(), &"it gave no answer in time");
                        draft = before;
                        "timeout"
                    }
                };
            count(hook.name(), result);
        }
        if draft.content == *content {
            return HookVerdict::Continue;
        }
        match self.rules.check(&draft.content) {
            Ok(checked) => HookVerdict::Amended {
                body: checked.body,
                content: checked.content,
                mentions: checked.mentions,
                mention_all: checked.mention_all,
            },
            Err(refusal) => {
                failed(
                    "all",
                    &format!("they made a content that cannot be sent: {refusal}"),
                );
                HookVerdict::Stop(refusal)
            }
        }
    }
}

fn count(hook: &'static str, result: &'static str) {
    metrics::counter!("flare_orchestrator_hook_results_total", "hook" => hook, "result" => result)
        .increment(1);
}

#[cfg(test)]
mod tests;
