//! A link to the server that can be cut, or fall silent.

use std::{net::SocketAddr, sync::Arc};

use flare_server_core::{config::Secret, postgres::PostgresConfig};
use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

pub(crate) struct Link {
    /// To the server by this link.
    pub(crate) config: PostgresConfig,
    address: SocketAddr,
    server: String,
    silent: Arc<watch::Sender<bool>>,
    /// Dropped: the link is cut.
    running: Option<JoinSet<()>>,
}

impl Link {
    pub(crate) async fn to(config: &PostgresConfig) -> Self {
        let options: PgConnectOptions = config.url.expose().parse().expect("a url");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("is bound");
        let server = format!("{}:{}", options.get_host(), options.get_port());
        let url = config
            .url
            .expose()
            .replacen(&server, &address.to_string(), 1);
        let mut link = Self {
            config: PostgresConfig {
                url: Secret::new(url),
                ..config.clone()
            },
            address,
            server,
            silent: Arc::new(watch::channel(false).0),
            running: None,
        };
        link.run(listener);
        link
    }

    /// Ends what is connected, and refuses who connects.
    pub(crate) async fn cut(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.shutdown().await;
        }
    }

    /// In place of the server: lets one client say its first words, and hangs up.
    pub(crate) async fn hang_up_on_one(&self) {
        let listener = TcpListener::bind(self.address).await.expect("binds again");
        let (mut client, _) = listener.accept().await.expect("somebody comes");
        let said = client.read(&mut [0; 64]).await.expect("says something");
        assert!(said > 0, "it came and went");
    }

    pub(crate) async fn mend(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("binds again");
        self.run(listener);
    }

    /// Nothing comes through, and nobody is told.
    pub(crate) fn silence(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    fn run(&mut self, listener: TcpListener) {
        let (server, silent) = (self.server.clone(), Arc::clone(&self.silent));
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else {
                    continue;
                };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                links.spawn(carry(from_client, to_server, silent.subscribe()));
                links.spawn(carry(from_server, to_client, silent.subscribe()));
            }
        });
        self.running = Some(running);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut silent: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16_384];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        if silent.wait_for(|it| !it).await.is_err() || to.write_all(&buffer[..bytes]).await.is_err()
        {
            break;
        }
    }
}
