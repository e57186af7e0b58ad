//! The listener's loop: HTTP/1.1 and HTTP/2 on one port, so gRPC and the page, too.

use std::{io::Cursor, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use flare_core::transport::websocket::refuse;
use flare_server_core::{
    seats::{NoSeat, Seat, Seats},
    shutdown::Shutdown,
    tls::Acceptor,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use super::activity::Activity;

/// A client that has not sent its headers by then is let go.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that does not answer pings is let go after about twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Calls of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 256;
/// The longest headers of a request, in bytes.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// After an accept that failed for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Refusals that are being written; beyond, connections are just dropped.
const REFUSALS: usize = 64;
/// A refusal is written within this.
const REFUSAL: Duration = Duration::from_secs(1);

/// How connections come in, and how long they stay.
pub struct Door {
    /// Begins TLS where there is a certificate.
    pub acceptor: Acceptor,
    /// Connections at once; further ones wait in the system's queue, which has its own limit.
    pub max_connections: usize,
    /// Who has them.
    pub seats: Seats,
    /// A connection without a request for so long is closed.
    pub idle: Duration,
}

/// Serves until the drain, then until every request begun is answered.
pub async fn serve(listener: TcpListener, door: Door, router: Router, shutdown: Shutdown) {
    let served = Arc::new(Served {
        builder: builder(),
        router,
        acceptor: door.acceptor,
        idle: door.idle,
        shutdown,
    });
    let places = Arc::new(Semaphore::new(door.max_connections));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let tasks = TaskTracker::new();
    loop {
        let accepted = served.shutdown.or_drain(async {
            if places.available_permits() == 0 {
                metrics::counter!("flare_core_gateway_connection_limit_total").increment(1);
            }
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        });
        let (place, stream, peer) = match accepted.await {
            None | Some((Err(_), _)) => break,
            Some((Ok(place), Ok((stream, peer)))) => (place, stream, peer),
            Some((_, Err(error))) => {
                tracing::warn!(%error, "a connection was not accepted");
                served.shutdown.or_drain(sleep(ACCEPT_PAUSE)).await;
                continue;
            }
        };
        match door.seats.take(peer.ip()) {
            Ok(seat) => {
                let served = Arc::clone(&served);
                tasks.spawn(async move {
                    served.serve(stream, seat).await;
                    drop(place);
                });
            }
            Err(no_seat) => served.turn_away(stream, no_seat, &refusals, &tasks),
        }
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES as u32);
    builder
}

/// What all connections share.
struct Served {
    builder: Builder<TokioExecutor>,
    router: Router,
    acceptor: Acceptor,
    idle: Duration,
    shutdown: Shutdown,
}

impl Served {
    async fn serve(&self, stream: TcpStream, _seat: Seat) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        let beginning = timeout(HEADER_TIMEOUT, async {
            let mut stream = self.acceptor.accept(stream).await?;
            let first = first_bytes(&mut stream).await?;
            std::io::Result::Ok((stream, first))
        });
        let (stream, first) = match self.shutdown.or_drain(beginning).await {
            Some(Ok(Ok((stream, first)))) if !first.is_empty() => (stream, first),
            _ => return,
        };
        let (reader, writer) = tokio::io::split(stream);
        let stream = tokio::io::join(Cursor::new(first).chain(reader), writer);
        let activity = Activity::begin();
        let service = TowerToHyperService::new(activity.observe(self.router.clone()));
        let serving = self.builder.serve_connection(TokioIo::new(stream), service);
        let mut serving = pin!(serving);
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            // What was begun is answered.
            () = self.until_unwanted(&activity) => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }

    async fn until_unwanted(&self, activity: &Activity) {
        tokio::select! {
            () = self.shutdown.draining() => {}
            () = activity.idle(self.idle) => {
                metrics::counter!("flare_core_gateway_idle_connections_closed_total").increment(1);
            }
        }
    }

    /// One that expects TLS is not answered: the handshake would cost us more than the connection costs its client.
    fn turn_away(
        &self,
        mut stream: TcpStream,
        no_seat: NoSeat,
        refusals: &Arc<Semaphore>,
        tasks: &TaskTracker,
    ) {
        metrics::counter!("flare_core_gateway_connections_refused_total").increment(1);
        let permit = Arc::clone(refusals).try_acquire_owned();
        let (Ok(permit), false) = (permit, self.acceptor.is_encrypted()) else {
            return;
        };
        tasks.spawn(async move {
            // Whether it was read is the client's affair.
            let _ = timeout(REFUSAL, refuse(&mut stream, 429, &no_seat.to_string())).await;
            drop(permit);
        });
    }
}

/// How every HTTP/2 connection begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// As much of a connection's beginning as tells which HTTP it is, for which hyper itself would wait without end; empty: it ended.
async fn first_bytes(reader: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut first = Vec::with_capacity(PREFACE.len());
    while first.len() < PREFACE.len() && PREFACE.starts_with(&first) {
        let mut rest = (&mut *reader).take((PREFACE.len() - first.len()) as u64);
        if rest.read_buf(&mut first).await? == 0 {
            break;
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_s_beginning_is_read_until_its_version_is_told() {
        for (sent, wanted) in [
            (
                &b"GET / HTTP/1.1\r\n\r\n"[..],
                &b"GET / HTTP/1.1\r\n\r\n"[..],
            ),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00", PREFACE),
            (b"PR", b"PR"),
            (b"", b""),
        ] {
            let mut reader = sent;
            assert_eq!(first_bytes(&mut reader).await.ok().as_deref(), Some(wanted));
        }
    }
}
