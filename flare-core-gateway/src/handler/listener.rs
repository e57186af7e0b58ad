//! The listener's loop: HTTP/1.1 and HTTP/2 on one port, so gRPC and the page, too.

use std::{sync::Arc, time::Duration};

use axum::Router;
use flare_server_core::shutdown::Shutdown;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
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
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
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
