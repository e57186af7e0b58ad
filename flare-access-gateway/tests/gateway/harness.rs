//! A gateway on a free port, and clients.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use flare_access_gateway::AccessGatewayConfig;
use flare_core::{
    codec::{ClientFrame, Codec, Payload, ServerFrame, decode_server, encode_client},
    transport::{
        Incoming, TransportExt, close_reason,
        websocket::{ClientStream, ConnectError, ConnectOptions, Trust, WebSocket, connect},
    },
};
use flare_proto::{
    access::access_gateway_service_client::AccessGatewayServiceClient,
    client::{CloseReason, Connect, Connected, Send},
    common::ErrorCode,
    message::{self, Content},
};
use flare_server_core::{
    channels::ServiceChannel,
    event_bus::EventBus,
    identity::{Claims, TokenError, TokenValidator},
    message_log::MessageLog,
    owners::{Directory, Owner, Owners},
    platform::{Adapters, Platform, PlatformParts},
    process::{Addresses, Edge},
    registry::{StaticRegistry, service},
    servers::Shape,
    service::ServiceError,
};
use prost::Message;
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tonic::service::Routes;

use crate::services::{self, World, code};

pub(crate) const SOON: Duration = Duration::from_secs(10);

/// The log's one partition is owned in the gateway's own process.
fn owned_here() -> Directory {
    Directory::of([owner(1, "")])
}

/// An owner, as it is told.
pub(crate) fn owner(epoch: u64, endpoint: &str) -> Option<Owner> {
    Some(Owner {
        epoch,
        endpoint: endpoint.into(),
    })
}

struct NoAdapters;

#[async_trait]
impl Adapters for NoAdapters {
    async fn open_message_log(&self) -> Result<Arc<dyn MessageLog>, ServiceError> {
        Err("no log in these tests".into())
    }

    async fn open_event_bus(&self) -> Result<Arc<dyn EventBus>, ServiceError> {
        Err("no bus in these tests".into())
    }

    async fn close(&self) -> Result<(), ServiceError> {
        Ok(())
    }
}

/// Takes "tenant/user/device/issued/expires"; a device of "*" is any.
struct Plain;

#[async_trait]
impl TokenValidator for Plain {
    async fn validate(&self, token: &str, now_ms: i64) -> Result<Claims, TokenError> {
        let parts: Vec<&str> = token.split('/').collect();
        let [tenant, user, device, issued, expires] = parts[..] else {
            return Err(TokenError::Malformed(token.to_owned()));
        };
        let number = |text: &str| text.parse::<i64>().map_err(|_| TokenError::BadSignature);
        let expires_s = number(expires)?;
        if expires_s * 1_000 <= now_ms {
            return Err(TokenError::Expired { expires_s, now_ms });
        }
        Ok(Claims {
            tenant: tenant.to_owned(),
            user: user.to_owned(),
            device: Some(device).filter(|it| *it != "*").map(str::to_owned),
            expires_s,
            issued_s: number(issued)?,
        })
    }
}

/// A token that is good for long.
pub(crate) fn token(user: &str, device: &str) -> String {
    format!("default/{user}/{device}/1000/99999999999")
}

pub(crate) struct Gateway {
    pub(crate) world: Arc<World>,
    pub(crate) platform: Platform,
    /// Who owns which partition, as the gateway is told.
    pub(crate) owners: watch::Sender<Arc<Directory>>,
    pub(crate) url: String,
    pub(crate) tasks: JoinSet<()>,
    _data: tempfile::TempDir,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(configure: impl FnOnce(&mut AccessGatewayConfig)) -> Self {
        Self::told(owned_here(), configure).await
    }

    /// One that is told of these owners when it starts.
    pub(crate) async fn told(
        directory: Directory,
        configure: impl FnOnce(&mut AccessGatewayConfig),
    ) -> Self {
        let world = Arc::new(World::default());
        world.orchestrator.answers.send_replace(true);
        world.calls_go_on.send_replace(true);
        let mut config = AccessGatewayConfig {
            positions_ms: 20,
            ..AccessGatewayConfig::default()
        };
        configure(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let url = format!("ws://{}/ws", listener.local_addr().expect("bound"));
        let data = tempfile::tempdir().expect("a folder");
        let platform = Platform::new(PlatformParts {
            shape: Shape::Embedded,
            data: data.path().to_owned(),
            adapters: Box::new(NoAdapters),
            registry: Arc::new(StaticRegistry::default()),
            peer_secret: None,
            peer_tls: None,
            shutdown: flare_server_core::shutdown::Shutdown::new(),
            spans: flare_server_core::telemetry::Spans::default(),
            addresses: Addresses::default(),
            edge: Some(Edge {
                validator: Arc::new(Plain),
                tenants: vec!["default".to_owned()],
                certificate: None,
            }),
            development_sign_in: false,
            listeners: HashMap::from([(service::ACCESS_GATEWAY.to_owned(), listener)]),
        });
        let owners = watch::Sender::new(Arc::new(directory));
        let shown = Owners::shown(owners.subscribe());
        let shared = platform.once(async move || Ok(shown)).await;
        drop(shared.expect("the first"));
        let parts = flare_access_gateway::build(&config, &platform)
            .await
            .expect("builds");
        let own = parts.routes.into_iter().map(Routes::into_axum_router);
        let router = own.fold(services::routes(&world).into_axum_router(), |all, more| {
            all.merge(more.reset_fallback())
        });
        let names = parts
            .services
            .into_iter()
            .chain(services::names())
            .collect();
        platform
            .channels
            .serve_local(Routes::from(router), names, None);
        let mut tasks = JoinSet::new();
        for task in parts.tasks.into_iter().chain(parts.edges) {
            tasks.spawn(async move { task.run.await.expect("ends well") });
        }
        Self {
            world,
            platform,
            owners,
            url,
            tasks,
            _data: data,
        }
    }

    /// The inner side.
    pub(crate) fn inner(&self) -> AccessGatewayServiceClient<ServiceChannel> {
        AccessGatewayServiceClient::new(self.platform.channels.endpoint(""))
    }

    pub(crate) fn incarnation(&self) -> String {
        self.world
            .online
            .gateway
            .lock()
            .expect("locks")
            .incarnation
            .clone()
    }

    pub(crate) async fn open(&self, codec: Codec) -> Client {
        self.open_from(codec, None).await.expect("connects")
    }

    pub(crate) async fn open_from(
        &self,
        codec: Codec,
        origin: Option<&str>,
    ) -> Result<Client, ConnectError> {
        let options = ConnectOptions {
            url: self.url.clone(),
            trust: Trust::default(),
            codec,
            origin: origin.map(str::to_owned),
            max_frame_bytes: 4 << 20,
        };
        let socket = timeout(SOON, connect(&options)).await.expect("in time")?;
        Ok(Client {
            socket,
            codec,
            connection_id: 0,
        })
    }

    /// A client that has connected.
    pub(crate) async fn client(&self, codec: Codec, user: &str, device: &str) -> Client {
        let mut client = self.open(codec).await;
        client.connect(&token(user, device), device).await;
        client
    }

    pub(crate) async fn until_gone(&self, connection_id: u64) {
        let registered = &self.world.online.registered;
        services::until("unregistered", || {
            !registered
                .lock()
                .expect("locks")
                .contains_key(&connection_id)
        })
        .await;
    }

    pub(crate) fn submit_streams(&self) -> usize {
        self.world.orchestrator.streams.load(Ordering::SeqCst)
    }
}

pub(crate) struct Client {
    pub(crate) socket: WebSocket<ClientStream>,
    pub(crate) codec: Codec,
    pub(crate) connection_id: u64,
}

/// What comes to a client.
#[derive(Debug)]
pub(crate) enum Heard {
    Frame(ServerFrame),
    Closed(Option<CloseReason>),
}

impl Client {
    pub(crate) async fn send(&mut self, frame: ClientFrame) {
        let payload = encode_client(self.codec, &frame).expect("encodes");
        self.send_raw(&payload.bytes).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        let payload = Payload {
            bytes: bytes.to_vec().into(),
            text: self.codec.is_text(),
        };
        timeout(SOON, self.socket.send(payload))
            .await
            .expect("in time")
            .expect("sends");
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            match timeout(SOON, self.socket.recv()).await.expect("in time") {
                Some(Ok(Incoming::Frame(bytes))) => {
                    return Heard::Frame(
                        decode_server(self.codec, bytes, 4 << 20).expect("a frame"),
                    );
                }
                Some(Ok(Incoming::Alive)) => {}
                Some(Ok(Incoming::Closed { code, .. })) => {
                    return Heard::Closed(code.and_then(close_reason));
                }
                Some(Err(_)) | None => return Heard::Closed(None),
            }
        }
    }

    pub(crate) async fn frame(&mut self) -> ServerFrame {
        match self.hear().await {
            Heard::Frame(frame) => frame,
            closed => panic!("a frame, not {closed:?}"),
        }
    }

    pub(crate) async fn connect(&mut self, token: &str, device: &str) -> Connected {
        let connect = Connect {
            id: 1,
            token: token.to_owned(),
            device_id: device.to_owned(),
            ..Connect::default()
        };
        self.send(ClientFrame::Connect(connect)).await;
        match self.frame().await {
            ServerFrame::Connected(connected) => {
                let (_, id) = connected.connection_id.split_once('.').expect("an id");
                self.connection_id = id.parse().expect("a number");
                connected
            }
            other => panic!("connected, not {other:?}"),
        }
    }

    /// The refusal that comes next.
    pub(crate) async fn refusal(&mut self) -> (u32, ErrorCode, String) {
        match self.frame().await {
            ServerFrame::Error(error) => (
                error.id,
                code(error.error.as_ref()),
                error.error.map(|it| it.field).unwrap_or_default(),
            ),
            other => panic!("a refusal, not {other:?}"),
        }
    }

    /// Expects the typed close: the frame, and the transport's code.
    pub(crate) async fn closed_for(&mut self, reason: CloseReason) {
        match self.frame().await {
            ServerFrame::Kicked(kicked) => {
                assert_eq!(kicked.reason(), reason, "{}", kicked.message)
            }
            other => panic!("kicked for {reason:?}, not {other:?}"),
        }
        match self.hear().await {
            Heard::Closed(code) => assert_eq!(code, Some(reason)),
            frame => panic!("closed, not {frame:?}"),
        }
    }

    pub(crate) async fn say(&mut self, id: u32, conversation: &str, client_id: &str) {
        self.send(ClientFrame::Send(text(id, conversation, client_id)))
            .await;
    }

    pub(crate) async fn say_text(
        &mut self,
        id: u32,
        conversation: &str,
        client_id: &str,
        said: &str,
    ) {
        self.send(ClientFrame::Send(saying(id, conversation, client_id, said)))
            .await;
    }
}

/// A text message.
pub(crate) fn text(id: u32, conversation: &str, client_id: &str) -> Send {
    saying(id, conversation, client_id, "hello")
}

fn saying(id: u32, conversation: &str, client_id: &str, said: &str) -> Send {
    let content = Content {
        kind: Some(message::content::Kind::Text(message::Text {
            text: said.to_owned(),
        })),
        ..Content::default()
    };
    Send {
        id,
        conversation_id: conversation.to_owned(),
        client_id: client_id.to_owned(),
        content: content.encode_to_vec().into(),
        ..Send::default()
    }
}
