//! Listeners that every process has: health and metrics, and gRPC for the other processes.

use std::time::Duration;

use tokio::net::TcpListener;
use tonic::{
    service::{InterceptorLayer, Routes},
    transport::{Server, server::TcpIncoming},
};

use crate::{
    identity::peer::PeerSecret,
    ops::router,
    platform::Platform,
    service::Task,
    telemetry::{CallSpans, Telemetry},
    tls::PeerTls,
};

/// Who has opened a stream and vanished is noticed after about twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A batch between processes may be as large as this: a full batch of the largest contents.
const MAX_FRAME_BYTES: u32 = 1 << 20;

/// Health and metrics over HTTP.
pub(super) fn ops(platform: &Platform, telemetry: &Telemetry, listener: TcpListener) -> Vec<Task> {
    let app = router(platform.readiness.clone(), telemetry.metrics.clone());
    let shutdown = platform.shutdown.clone();
    let serve = Task::new("ops.serve", async move {
        // Answers during the drain, too: it ends with the process.
        let serving = axum::serve(listener, app)
            .with_graceful_shutdown(async move { shutdown.draining().await });
        Ok(serving.await?)
    });
    let metrics = telemetry.metrics.clone();
    let shutdown = platform.shutdown.clone();
    let upkeep = Task::new("ops.metrics", async move {
        metrics.upkeep(shutdown).await;
        Ok(())
    });
    vec![serve, upkeep]
}

/// This process's services, for others that bear the shared secret.
pub(super) fn peer(
    platform: &Platform,
    listener: TcpListener,
    routes: Routes,
    secret: &PeerSecret,
    tls: Option<PeerTls>,
) -> Task {
    let shutdown = platform.shutdown.clone();
    let guard = InterceptorLayer::new(secret.server());
    let spans = CallSpans::new(platform.spans.clone());
    Task::new("peer.serve", async move {
        let server = Server::builder()
            .layer(guard)
            .layer(spans)
            .max_frame_size(MAX_FRAME_BYTES)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(1 << 22)
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE))
            .add_routes(routes);
        let drain = async move { shutdown.draining().await };
        match tls {
            Some(tls) => {
                let peers = tls.incoming(listener);
                server.serve_with_incoming_shutdown(peers, drain).await?;
            }
            None => {
                let anybody = incoming(listener);
                server.serve_with_incoming_shutdown(anybody, drain).await?;
            }
        }
        Ok(())
    })
}

/// Connections without Nagle's algorithm: with it the end of an answer waits for the delayed acknowledgement of its
/// beginning, 40 ms.
fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;
    use tokio_stream::StreamExt;

    use super::*;

    #[tokio::test]
    async fn no_answer_waits_for_an_acknowledgement() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = incoming(listener);
        let (caller, taken) = tokio::join!(TcpStream::connect(address), incoming.next());
        assert!(taken.unwrap().unwrap().nodelay().unwrap());
        drop(caller);
    }
}
