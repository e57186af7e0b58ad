//! A gateway that runs.

use std::{collections::HashMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use flare_core_gateway::{
    CoreGatewayConfig,
    api_keys::{self, ApiKeys},
    build,
};
use flare_proto::{
    common::{Error, ErrorCode},
    gateway::core_gateway_service_client::CoreGatewayServiceClient,
    signaling::{RevocationsRequest, RevocationsResponse},
};
use flare_server_core::{
    clock::IdSource,
    event_bus::EventBus,
    identity::{IdentityConfig, LocalJwt, TokenValidator},
    message_log::MessageLog,
    owners::{Directory, Owner, Owners},
    platform::{Adapters, Platform, PlatformParts},
    process::{Addresses, Edge},
    registry::{StaticRegistry, service},
    servers::Shape,
    service::ServiceError,
    shutdown::Shutdown,
    telemetry::Spans,
};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tonic::transport::Channel;

use crate::inner::Inner;

pub(crate) const ALL_SCOPES: [&str; 5] = ["send", "conversations", "read", "presence", "admin"];

/// The gateway uses neither log nor bus.
struct NoAdapters;

#[tonic::async_trait]
impl Adapters for NoAdapters {
    async fn open_message_log(&self) -> Result<Arc<dyn MessageLog>, ServiceError> {
        Err("there is no log here".into())
    }

    async fn open_event_bus(&self) -> Result<Arc<dyn EventBus>, ServiceError> {
        Err("there is no bus here".into())
    }

    async fn close(&self) -> Result<(), ServiceError> {
        Ok(())
    }
}

/// A gateway, the inner services behind it, and what makes credentials for it.
pub(crate) struct Running {
    pub(crate) inner: Inner,
    pub(crate) platform: Platform,
    /// Who owns which partition, as the gateway is told.
    pub(crate) owners: watch::Sender<Arc<Directory>>,
    pub(crate) address: SocketAddr,
    pub(crate) keys: ApiKeys,
    jwt: Arc<LocalJwt>,
    http: reqwest::Client,
    work: JoinSet<()>,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The code's name and the field of a refusal.
    pub(crate) fn refusal(&self) -> (String, String) {
        let json = self.json();
        let text = |name: &str| json["error"][name].as_str().unwrap_or_default().to_owned();
        assert!(!text("message").is_empty(), "{}", self.text);
        (text("code"), text("field"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|it| it.to_str().ok())
            .unwrap_or_default()
    }
}

impl Running {
    pub(crate) async fn start() -> (Self, TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        (
            Self::on(folder.path(), CoreGatewayConfig::default()).await,
            folder,
        )
    }

    pub(crate) async fn with(config: CoreGatewayConfig) -> (Self, TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        (Self::on(folder.path(), config).await, folder)
    }

    pub(crate) async fn on(folder: &Path, config: CoreGatewayConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let identity = IdentityConfig::default();
        let jwt = Arc::new(LocalJwt::open(&identity, folder, &IdSource::from_os()).expect("a key"));
        let platform = Platform::new(PlatformParts {
            shape: Shape::Embedded,
            data: folder.to_owned(),
            adapters: Box::new(NoAdapters),
            registry: Arc::new(StaticRegistry::default()),
            peer_secret: None,
            peer_tls: None,
            addresses: Addresses {
                access_gateway: "127.0.0.1:9".parse().ok(),
                ..Addresses::default()
            },
            edge: Some(Edge {
                validator: Arc::clone(&jwt) as Arc<dyn TokenValidator>,
                tenants: identity.tenants.clone(),
                certificate: None,
            }),
            development_sign_in: true,
            shutdown: Shutdown::new(),
            spans: Spans::default(),
            listeners: HashMap::from([("flare-core-gateway".to_owned(), listener)]),
        });
        // The log's one partition is owned in this process.
        let owner = Owner {
            epoch: 1,
            endpoint: "".into(),
        };
        let owners = watch::Sender::new(Arc::new(Directory::of([Some(owner)])));
        let shown = Owners::shown(owners.subscribe());
        let shared = platform.once(async move || Ok(shown)).await;
        drop(shared.expect("the first"));
        let parts = build(&config, &platform).await.expect("it builds");
        let inner = Inner::default();
        inner.answer(
            "SignalingService/Revocations",
            |request: RevocationsRequest| {
                Ok(RevocationsResponse {
                    not_before_s: vec![0; request.devices.len()],
                })
            },
        );
        let services = vec![
            service::ORCHESTRATOR,
            service::STORAGE_READER,
            service::SESSION,
            service::ONLINE,
        ];
        platform
            .channels
            .serve_local(inner.routes(), services, None);
        let mut work = JoinSet::new();
        for task in parts.tasks.into_iter().chain(parts.edges) {
            work.spawn(async move { task.run.await.expect("it ends well") });
        }
        let keys = api_keys::open(
            &Shape::Embedded,
            folder,
            Arc::clone(&platform.clock),
            Arc::clone(&platform.ids),
        )
        .await
        .expect("keys")
        .keys;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(20))
            .build()
            .expect("a client");
        Self {
            inner,
            platform,
            owners,
            address,
            keys,
            jwt,
            http,
            work,
        }
    }

    /// Drains, and waits until all has ended.
    pub(crate) async fn stop(mut self) {
        self.platform.shutdown.drain();
        while let Some(ended) = self.work.join_next().await {
            ended.expect("no panic");
        }
    }

    /// A user's token, good for an hour.
    pub(crate) fn token(&self, user: &str) -> String {
        self.token_of(user, None)
    }

    pub(crate) fn token_of(&self, user: &str, device: Option<&str>) -> String {
        let now_ms = self.platform.clock.now_ms();
        self.jwt
            .mint("default", user, device, Duration::from_secs(3_600), now_ms)
            .expect("a token")
    }

    pub(crate) fn expired_token(&self, user: &str) -> String {
        let now_ms = self.platform.clock.now_ms() - 7_200_000;
        self.jwt
            .mint("default", user, None, Duration::from_secs(3_600), now_ms)
            .expect("a token")
    }

    pub(crate) fn foreign_token(&self, user: &str) -> String {
        let now_ms = self.platform.clock.now_ms();
        let tenants = vec!["elsewhere".to_owned()];
        let config = IdentityConfig {
            tenants,
            ..IdentityConfig::default()
        };
        let jwt =
            LocalJwt::open(&config, self.platform.data_root(), &self.platform.ids).expect("a key");
        jwt.mint("elsewhere", user, None, Duration::from_secs(3_600), now_ms)
            .expect("a token")
    }

    /// A new key's secret.
    pub(crate) async fn key(&self, scopes: &[&str]) -> String {
        let (_, secret) = self
            .keys
            .create("default", "a test's", scopes.iter().copied())
            .await
            .expect("a key");
        secret.expose().to_owned()
    }

    /// A new key's secret, of a tenant that this deployment has not.
    pub(crate) async fn foreign_key(&self) -> String {
        let made = self.keys.create("elsewhere", "a test's", ALL_SCOPES);
        made.await.expect("a key").1.expose().to_owned()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn call(
        &self,
        verb: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let verb = Method::from_bytes(verb.as_bytes()).expect("a verb");
        let mut request = self.http.request(verb, self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body.to_owned());
            if !headers.iter().any(|(name, _)| *name == "content-type") {
                request = request.header("content-type", "application/json");
            }
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        Answer {
            status,
            headers,
            text: response.text().await.expect("a body"),
        }
    }

    pub(crate) async fn grpc(&self) -> CoreGatewayServiceClient<Channel> {
        CoreGatewayServiceClient::new(self.channel().await)
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(self.url("")).expect("a URI");
        endpoint.connect().await.expect("a connection")
    }
}

/// A gRPC request with credentials.
pub(crate) fn with<T>(headers: &[(&'static str, &str)], message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    for (name, value) in headers {
        request
            .metadata_mut()
            .insert(*name, value.parse().expect("visible ASCII"));
    }
    request
}

/// What gRPC refused, as the contract has it: from the details, not the status.
pub(crate) fn refused(status: tonic::Status) -> Error {
    assert!(!status.details().is_empty(), "{status:?} has no details");
    flare_server_core::error::Refusal::from(status).into()
}

pub(crate) fn code(error: &Error) -> ErrorCode {
    ErrorCode::try_from(error.code).expect("a code")
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
