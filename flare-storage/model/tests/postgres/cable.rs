//! A link to the server that can be cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use flare_server_core::postgres::PostgresConfig;
use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::JoinSet,
};

use crate::database::{Database, config};

/// What a client says to commit: a simple query.
const COMMIT: &[u8] = b"COMMIT\0";

/// Connections pass through it until they are cut. Ends with its drop.
pub(crate) struct Cable {
    at: SocketAddr,
    state: Arc<State>,
    _passing: JoinSet<()>,
}

#[derive(Default)]
struct State {
    /// Whether connections are taken.
    is_up: watch::Sender<bool>,
    /// How many more commits pass, and take their connection with them before the answer comes.
    unanswered: AtomicU64,
    /// Whether what is said stays on the way, and connections stay open.
    is_silent: AtomicBool,
}

impl Cable {
    pub(crate) async fn to(database: &Database) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("it has one");
        let options = database.options();
        let server = format!("{}:{}", options.get_host(), options.get_port());
        let state = Arc::new(State::default());
        state.is_up.send_replace(true);
        let mut passing = JoinSet::new();
        passing.spawn(accept(listener, server, Arc::clone(&state)));
        Self {
            at,
            state,
            _passing: passing,
        }
    }

    /// How the server is reached by it.
    pub(crate) fn config(&self, database: &Database) -> PostgresConfig {
        let options: PgConnectOptions = database.options();
        let options = options.host("127.0.0.1").port(self.at.port());
        PostgresConfig {
            acquire_timeout_ms: 1_000,
            statement_timeout_ms: 1_000,
            ..config(&options)
        }
    }

    /// The next so many commits reach the server, and their answers nobody.
    pub(crate) fn swallow_answers(&self, commits: u64) {
        self.state.unanswered.store(commits, Ordering::SeqCst);
    }

    /// How many of them have not come yet.
    pub(crate) fn unswallowed(&self) -> u64 {
        self.state.unanswered.load(Ordering::SeqCst)
    }

    /// Connections end, and no others begin.
    pub(crate) fn cut(&self) {
        self.state.is_up.send_replace(false);
    }

    /// Nothing passes, and nobody is told.
    pub(crate) fn hush(&self) {
        self.state.is_silent.store(true, Ordering::SeqCst);
    }

    /// As before, for connections that begin now.
    pub(crate) fn mend(&self) {
        self.cut();
        self.state.is_silent.store(false, Ordering::SeqCst);
        self.state.is_up.send_replace(true);
    }
}

async fn accept(listener: TcpListener, server: String, state: Arc<State>) {
    let mut passing = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let mut is_up = state.is_up.subscribe();
        // Looked at here, so that a cut that comes before the task runs is seen by it.
        if !*is_up.borrow_and_update() {
            continue;
        }
        let (server, state) = (server.clone(), Arc::clone(&state));
        passing.spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else {
                return;
            };
            select! {
                _ = is_up.changed() => {}
                () = pass(client, server, &state) => {}
            }
        });
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, state: &State) {
    let (mut said, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        select! {
            bytes = client.read(&mut said) => {
                let Some(bytes) = bytes.ok().filter(|it| *it > 0) else { return };
                let said = &said[..bytes];
                if state.is_silent.load(Ordering::SeqCst) {
                    continue;
                }
                if server.write_all(said).await.is_err() {
                    return;
                }
                if said.ends_with(COMMIT) && is_swallowed(state) {
                    // The server says that it has done it before the link is gone.
                    let _ = server.read(&mut answered).await;
                    return;
                }
            }
            bytes = server.read(&mut answered) => {
                let Some(bytes) = bytes.ok().filter(|it| *it > 0) else { return };
                if state.is_silent.load(Ordering::SeqCst) {
                    continue;
                }
                if client.write_all(&answered[..bytes]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn is_swallowed(state: &State) -> bool {
    let less = |it: u64| it.checked_sub(1);
    state
        .unanswered
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        .is_ok()
}
