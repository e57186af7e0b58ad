//! The listener's loop: HTTP/1.1 and HTTP/2 on one port, so gRPC and the page, too.

use std::{io::Cursor, sync::Arc, time::Duration};

use axum::Router;
use flare_server_core::shutdown::Shutdown;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

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

/// Serves until the drain, then until every request begun is answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    shutdown: Shutdown,
) {
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
    let builder = Arc::new(builder);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(max_connections));
    loop {
        let accepted = shutdown.or_drain(async {
            if places.available_permits() == 0 {
                metrics::counter!("flare_core_gateway_connection_limit_total").increment(1);
            }
            // Further connections wait in the system's queue, which has its own limit.
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        });
        let (place, stream) = match accepted.await {
            None => break,
            Some((Ok(place), Ok((stream, _)))) => (place, stream),
            Some((Err(_), _)) => break,
            Some((_, Err(error))) => {
                tracing::warn!(%error, "a connection was not accepted");
                if shutdown
                    .or_drain(tokio::time::sleep(ACCEPT_PAUSE))
                    .await
                    .is_none()
                {
                    break;
                }
                continue;
            }
        };
        let connection = Connection {
            builder: Arc::clone(&builder),
            router: router.clone(),
            watcher: graceful.watcher(),
            shutdown: shutdown.clone(),
        };
        tokio::spawn(async move {
            metrics::gauge!("flare_core_gateway_connections").increment(1);
            connection.serve(stream).await;
            metrics::gauge!("flare_core_gateway_connections").decrement(1);
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

struct Connection {
    builder: Arc<Builder<TokioExecutor>>,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
    shutdown: Shutdown,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        let (mut reader, writer) = stream.into_split();
        let first = tokio::time::timeout(HEADER_TIMEOUT, first_bytes(&mut reader));
        let first = match self.shutdown.or_drain(first).await {
            Some(Ok(Ok(first))) if !first.is_empty() => first,
            _ => return,
        };
        let stream = tokio::io::join(Cursor::new(first).chain(reader), writer);
        let service = TowerToHyperService::new(self.router);
        let serving = self
            .builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        if let Err(error) = self.watcher.watch(serving).await {
            tracing::debug!(%error, "a connection ended");
        }
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
