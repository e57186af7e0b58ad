//! HTTP and gRPC of core-gateway.

use anyhow::Context;
use flare_proto::descriptor_pool;
use tonic::{Request, client::Grpc, metadata::MetadataValue, transport::Channel};

use super::{
    answer::Answer,
    message::{AnyBytes, Headers},
};

/// The service of the contract that is open to clients.
pub(crate) const SERVICE: &str = "flare.gateway.v1.CoreGatewayService";

/// Both ways to it.
pub(crate) struct Api {
    url: String,
    http: reqwest::Client,
    pub(crate) channel: Channel,
}

impl Api {
    /// To the core-gateway at this URL.
    pub(crate) async fn of(url: String) -> anyhow::Result<Self> {
        let channel = Channel::from_shared(url.clone())?.connect().await?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { url, http, channel })
    }

    /// Asks over HTTP.
    pub(crate) async fn http(
        &self,
        verb: &str,
        path: &str,
        headers: &Headers,
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.url);
        let mut request = self.http.request(verb.parse()?, url).body(body.to_vec());
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        Answer::of_http(status, &response.text().await?)
    }

    /// Asks over gRPC, with bytes that no generated client might make. The method is named "package.Service/Method".
    pub(crate) async fn grpc(
        &self,
        method: &str,
        headers: &Headers,
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await?;
        let mut request = Request::new(body.to_vec());
        for (name, value) in headers {
            request
                .metadata_mut()
                .insert(*name, MetadataValue::try_from(value).context(*name)?);
        }
        let path = format!("/{method}").parse()?;
        match client.unary(request, path, AnyBytes).await {
            Ok(response) => Answer::of_response(&answer_of(method)?, response.get_ref()),
            Err(status) => Answer::of_grpc(status),
        }
    }
}

/// The name of the message that a method answers with.
fn answer_of(method: &str) -> anyhow::Result<String> {
    let (service, name) = method.split_once('/').context("service/method")?;
    let service = descriptor_pool()
        .get_service_by_name(service)
        .with_context(|| format!("the contract has no {service}"))?;
    let method = service.methods().find(|it| it.name() == name);
    Ok(method.context("no such method")?.output().name().to_owned())
}
