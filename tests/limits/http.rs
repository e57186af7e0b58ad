//! Requests over HTTP and gRPC, as a user or by an API key.

use anyhow::{Context, bail};
use flare_proto::{
    common::{Error, ErrorCode},
    descriptor_pool,
};
use serde_json::Value;
use tonic::{Request, client::Grpc, metadata::MetadataValue, transport::Channel};

use crate::{
    answer::Answer,
    ground::Ground,
    message::{AnyBytes, Headers, proto},
};

const GATEWAY: &str = "flare.gateway.v1.CoreGatewayService";

/// By what a request is let in.
#[derive(Clone, Copy)]
pub(crate) enum Proof<'a> {
    /// A user's token.
    Token(&'a str),
    /// An API key, for the backend itself.
    Key(&'a str),
}

impl Proof<'_> {
    /// Of HTTP, or as metadata of gRPC.
    pub(crate) fn headers(self) -> Headers {
        match self {
            Self::Token(token) => vec![("authorization", format!("Bearer {token}"))],
            Self::Key(key) => vec![("x-api-key", key.to_owned())],
        }
    }
}

impl Ground {
    /// A POST of JSON below /api/v1.
    pub(crate) async fn post(
        &self,
        proof: Proof<'_>,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Answer> {
        let url = format!("http://{}/api/v1{path}", self.api()?);
        let request = self.http.post(url).json(body);
        self.answer(proof, request).await
    }

    /// A GET below /api/v1.
    pub(crate) async fn get(&self, proof: Proof<'_>, path: &str) -> anyhow::Result<Answer> {
        let url = format!("http://{}/api/v1{path}", self.api()?);
        self.answer(proof, self.http.get(url)).await
    }

    /// A unary call of the gateway's service over gRPC, of a request in JSON.
    pub(crate) async fn call(
        &self,
        proof: Proof<'_>,
        method: &str,
        request: &Value,
    ) -> anyhow::Result<Answer> {
        let channel = Channel::from_shared(format!("http://{}", self.api()?))?
            .connect()
            .await?;
        let service = descriptor_pool().get_service_by_name(GATEWAY);
        let of_contract = service.and_then(|it| it.methods().find(|it| it.name() == method));
        let input = of_contract.context("no such method")?.input();
        let mut message = Request::new(proto(input.full_name(), request));
        for (name, value) in proof.headers() {
            message
                .metadata_mut()
                .insert(name, MetadataValue::try_from(value)?);
        }
        let mut client = Grpc::new(channel);
        client.ready().await?;
        let path = format!("/{GATEWAY}/{method}").parse()?;
        match client.unary(message, path, AnyBytes).await {
            Ok(response) => Ok(Answer::Done(response.into_inner())),
            Err(status) => Answer::of_grpc(status),
        }
    }

    async fn answer(
        &self,
        proof: Proof<'_>,
        mut request: reqwest::RequestBuilder,
    ) -> anyhow::Result<Answer> {
        for (name, value) in proof.headers() {
            request = request.header(name, value);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        Answer::of_http(status, &response.text().await?)
    }
}

impl Answer {
    /// What was done, as JSON.
    pub(crate) fn done(self) -> anyhow::Result<Value> {
        match self {
            Self::Done(body) => serde_json::from_slice(&body)
                .with_context(|| String::from_utf8_lossy(&body).into_owned()),
            Self::Refused(error) => bail!("refused: {error:?}"),
        }
    }

    /// The refusal, with this code.
    pub(crate) fn refusal(self, code: ErrorCode) -> anyhow::Result<Error> {
        self.refused(code).cloned().map_err(anyhow::Error::msg)
    }
}
