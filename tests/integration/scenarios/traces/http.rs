//! Requests that a backend makes under a trace of its own.

use std::time::Duration;

use anyhow::{Context, ensure};
use flare_checker::Target;
use flare_proto::client::SendAck;
use futures::{StreamExt, future::ready, stream};
use reqwest::{Body, Client, RequestBuilder, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::{
    raw,
    recorder::{self, Recorder},
    scene::Scene,
};

/// What the server is told to call slow.
pub(crate) const SLOW: Duration = Duration::from_millis(400);
/// How long a slow sender keeps the server waiting: longer, by any clock.
const DAWDLES: Duration = Duration::from_millis(500);

/// The HTTP interface, with a user's token. What he says by it is in his history.
pub(crate) struct Api {
    base: String,
    token: String,
    client: Client,
    recorder: Recorder,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) trace_id: String,
}

impl Api {
    pub(crate) async fn new(scene: &Scene, user: &str) -> anyhow::Result<Self> {
        Ok(Self {
            base: scene.server.plain_api().await?,
            token: scene.server.token(user, None).await?,
            client: Client::builder().no_proxy().build()?,
            recorder: scene.recorder(user, "http")?,
        })
    }

    /// Says something in a conversation.
    pub(crate) async fn send(
        &self,
        conversation: &str,
        text: &str,
        trace: &str,
    ) -> anyhow::Result<Answer> {
        let request = self.client.post(format!("{}/api/v1/messages", self.base));
        let request = request.json(&self.intends(conversation, text, trace));
        let (answer, body) = self.ask(request, trace).await?;
        self.acked(trace, &body)?;
        Ok(answer)
    }

    /// Makes a group of the user alone.
    pub(crate) async fn create(&self, title: &str, trace: &str) -> anyhow::Result<Answer> {
        let request = self
            .client
            .post(format!("{}/api/v1/conversations", self.base));
        let request = request.json(&json!({"clientId": trace, "title": title}));
        self.answer(request, trace).await
    }

    /// Reads the newest page of a conversation.
    pub(crate) async fn history(&self, conversation: &str, trace: &str) -> anyhow::Result<Answer> {
        let page = format!("{}/api/v1/conversations/{conversation}/messages", self.base);
        self.answer(self.client.get(page), trace).await
    }

    async fn answer(&self, request: RequestBuilder, trace: &str) -> anyhow::Result<Answer> {
        Ok(self.ask(request, trace).await?.0)
    }

    async fn ask(&self, request: RequestBuilder, trace: &str) -> anyhow::Result<(Answer, String)> {
        let request = request
            .bearer_auth(&self.token)
            .header("traceparent", traceparent(trace));
        let answer = request.send().await?;
        let trace_id = answer.headers().get("x-trace-id").context("no trace id")?;
        let told = Answer {
            status: answer.status().as_u16(),
            trace_id: trace_id.to_str()?.to_owned(),
        };
        Ok((told, answer.text().await?))
    }

    /// The request that says something; its trace is its client id.
    fn intends(&self, conversation: &str, text: &str, trace: &str) -> Value {
        let target = Target::Conversation(conversation.to_owned());
        self.recorder.intends(trace, target, &raw::text(text));
        message(conversation, text, trace)
    }

    /// Takes the receipt out of an answer.
    fn acked(&self, client_id: &str, body: &str) -> anyhow::Result<()> {
        let answer: Value = serde_json::from_str(body).with_context(|| body.to_owned())?;
        let placed = &answer["placed"];
        let word = |name: &str| placed[name].as_str().unwrap_or_default().to_owned();
        let ack = SendAck {
            client_id: client_id.to_owned(),
            conversation_id: word("conversationId"),
            message_id: word("messageId"),
            seq: word("seq").parse().with_context(|| body.to_owned())?,
            duplicate: placed["duplicate"] == true,
            ..SendAck::default()
        };
        self.recorder.write(recorder::acked(&ack));
        Ok(())
    }

    /// Likewise to `send`, but keeps the server waiting for the second half of the request.
    pub(crate) async fn send_slowly(
        &self,
        conversation: &str,
        text: &str,
        trace: &str,
    ) -> anyhow::Result<Answer> {
        let mut first = self.intends(conversation, text, trace).to_string();
        let second = first.split_off(first.len() / 2);
        let begun = Instant::now();
        let later = async move {
            sleep_until(begun + DAWDLES).await;
            std::io::Result::Ok(second)
        };
        let halves = stream::once(ready(Ok(first))).chain(stream::once(later));
        let request = self.client.post(format!("{}/api/v1/messages", self.base));
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .body(Body::wrap_stream(halves));
        let (answer, body) = self.ask(request, trace).await?;
        ensure!(
            begun.elapsed() >= DAWDLES,
            "answered half a request: {body}"
        );
        self.acked(trace, &body)?;
        Ok(answer)
    }
}

fn message(conversation: &str, text: &str, trace: &str) -> Value {
    json!({
        "conversationId": conversation,
        "clientId": trace,
        "content": { "text": { "text": text } },
    })
}

fn traceparent(trace: &str) -> String {
    format!("00-{trace}-00f067aa0ba902b7-01")
}
