//! A way to a server that can be cut.

use std::sync::Arc;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes connections on to a server, unless it is cut.
pub(crate) struct Relay {
    /// Where it listens, as host:port.
    pub(crate) at: String,
    is_cut: Arc<watch::Sender<bool>>,
}

impl Relay {
    /// To `server`, as host:port.
    pub(crate) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let is_cut = Arc::new(watch::Sender::new(false));
        let (server, cut) = (server.to_owned(), is_cut.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (server, mut cut) = (server.clone(), cut.subscribe());
                tokio::spawn(async move {
                    if *cut.borrow() {
                        return;
                    }
                    let Ok(mut server) = TcpStream::connect(&server).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.wait_for(|it| *it) => {}
                    }
                });
            }
        });
        Self { at, is_cut }
    }

    /// Cuts it, or mends it.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }
}
