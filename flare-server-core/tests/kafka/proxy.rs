//! A way to the broker that can be cut.

use std::sync::Arc;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Open,
    /// What clients say gets through, the answers are lost.
    Deaf,
    /// Connections are closed, and new ones at once.
    Cut,
}

pub(crate) struct Proxy {
    port: u16,
    leads_to: Arc<watch::Sender<u16>>,
    mode: watch::Sender<Mode>,
    /// How often it was cut: each ends the connections that there were.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let leads_to = Arc::new(watch::Sender::new(0));
        let (mode, cuts) = (watch::Sender::new(Mode::Open), watch::Sender::new(0));
        tokio::spawn({
            let leads_to = Arc::clone(&leads_to);
            let (mode, cuts) = (mode.subscribe(), cuts.clone());
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let port = *leads_to.borrow();
                    tokio::spawn(connect(client, port, mode.clone(), cuts.subscribe()));
                }
            }
        });
        Self {
            port,
            leads_to,
            mode,
            cuts,
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn leads_to(&self, port: u16) {
        self.leads_to.send_replace(port);
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
        if mode == Mode::Cut {
            self.cuts.send_modify(|cuts| *cuts += 1);
        }
    }
}

async fn connect(
    client: TcpStream,
    port: u16,
    mode: watch::Receiver<Mode>,
    mut cuts: watch::Receiver<u64>,
) {
    if *mode.borrow() == Mode::Cut {
        return;
    }
    let Ok(broker) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    tokio::select! {
        () = pass(from_client, to_broker, None) => {}
        () = pass(from_broker, to_client, Some(mode)) => {}
        _ = cuts.changed() => {}
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mode: Option<watch::Receiver<Mode>>,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let is_lost = mode.as_ref().is_some_and(|it| *it.borrow() == Mode::Deaf);
        if !is_lost && to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
