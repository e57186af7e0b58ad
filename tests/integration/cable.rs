//! The network between clients and a server, as it fails: it falls silent, or breaks.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What a cable does with the connections through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Passes,
    /// Takes nothing and gives nothing, and nobody is told.
    Silent,
    Broken,
}

/// One cable. Connections made through it after it fell silent or broke pass again: they are laid anew.
pub(crate) struct Cable {
    url: String,
    present: watch::Sender<watch::Sender<State>>,
}

impl Cable {
    /// Lays one to the server at `url`; clients use [`Self::url`] instead.
    pub(crate) async fn lay(url: &str) -> anyhow::Result<Self> {
        Self::lay_to(&[url.to_owned()], false).await
    }

    /// Lays one to several servers: each connection goes to the first of these that answers.
    pub(crate) async fn lay_in_order(urls: &[String]) -> anyhow::Result<Self> {
        Self::lay_to(urls, false).await
    }

    /// Lays one to several servers: each connection goes to another one, or to the next that answers.
    pub(crate) async fn lay_in_turn(urls: &[String]) -> anyhow::Result<Self> {
        Self::lay_to(urls, true).await
    }

    async fn lay_to(urls: &[String], in_turn: bool) -> anyhow::Result<Self> {
        let url = urls.first().context("a cable to nowhere")?;
        let far = host(url).to_owned();
        let parsed = urls.iter().map(|it| host(it).parse());
        let to: Vec<SocketAddr> = parsed.collect::<Result<_, _>>()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let present = watch::Sender::new(watch::Sender::new(State::Passes));
        let states = present.subscribe();
        tokio::spawn(async move {
            let mut to = to;
            while let Ok((near, _)) = listener.accept().await {
                let state = states.borrow().subscribe();
                tokio::spawn(pass(near, to.clone(), state));
                if in_turn {
                    to.rotate_left(1);
                }
            }
        });
        Ok(Self {
            url: url.replace(&far, &at.to_string()),
            present,
        })
    }

    /// Where it begins.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// All connections through it stay open and carry nothing any more: neither side is told.
    pub(crate) fn falls_silent(&self) {
        self.becomes(State::Silent);
    }

    /// All connections through it end.
    pub(crate) fn breaks(&self) {
        self.becomes(State::Broken);
    }

    fn becomes(&self, state: State) {
        let old = self.present.send_replace(watch::Sender::new(State::Passes));
        old.send_replace(state);
        // Those who watch it hear of nothing further.
        drop(old);
    }
}

/// Host and port of a URL.
fn host(url: &str) -> &str {
    url.split('/').nth(2).unwrap_or_default()
}

async fn pass(
    near: TcpStream,
    to: Vec<SocketAddr>,
    mut state: watch::Receiver<State>,
) -> anyhow::Result<()> {
    // The first that answers.
    let far = TcpStream::connect(to.as_slice()).await?;
    for end in [&near, &far] {
        end.set_nodelay(true)?;
    }
    let (near, far) = (near.into_split(), far.into_split());
    let both = async {
        tokio::select! {
            ended = copy(near.0, far.1) => ended,
            ended = copy(far.0, near.1) => ended,
        }
    };
    tokio::pin!(both);
    let fate = state.wait_for(|it| *it != State::Passes);
    let silent = tokio::select! {
        ended = &mut both => return ended,
        fate = fate => matches!(fate.as_deref(), Ok(State::Silent)),
    };
    if silent {
        // The sockets stay open, and are not looked at.
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Until the one who is read ends.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> anyhow::Result<()> {
    let mut bytes = vec![0; 16 * 1_024];
    loop {
        let count = from.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(bytes.get(..count).unwrap_or_default()).await?;
    }
}
