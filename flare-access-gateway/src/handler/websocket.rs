//! The listener of the client link.

use std::{sync::Arc, time::Duration};

use flare_core::transport::websocket::{AcceptError, AcceptOptions, Accepted, accept, refuse};
use flare_server_core::{
    seats::{NoSeat, Seat, Seats},
    service::ServiceError,
    tls::Acceptor,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::DropGuard, task::TaskTracker};

use super::link::{self, Link};

/// After the system refused a connection, for want of file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Refusals that are being written; beyond, connections are just dropped.
const REFUSALS: usize = 64;
/// A refusal is written within this.
const REFUSAL: Duration = Duration::from_secs(1);
/// After the drain's deadline, closes take no longer.
const LINGER: Duration = Duration::from_secs(3);

/// What every connection begins with.
struct Door {
    acceptor: Acceptor,
    options: AcceptOptions,
    patience: Duration,
}

/// Accepts connections until the drain, then sees them off. `closed` is cancelled when there are none any more.
pub async fn serve(
    listener: TcpListener,
    acceptor: Acceptor,
    link: Arc<Link>,
    closed: DropGuard,
) -> Result<(), ServiceError> {
    let seats = Seats::new(
        link.config.max_connections,
        link.config.max_connections_per_ip,
        metrics::gauge!("flare_access_gateway_connections"),
    );
    let door = Arc::new(Door {
        acceptor,
        options: link.accept_options(),
        patience: Duration::from_millis(link.config.handshake_ms),
    });
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let tasks = TaskTracker::new();
    while let Some(accepted) = link.shutdown.or_drain(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                link.shutdown.or_drain(sleep(ACCEPT_PAUSE)).await;
                continue;
            }
        };
        match seats.take(peer.ip()) {
            Ok(seat) => {
                tasks.spawn(one(stream, Arc::clone(&link), Arc::clone(&door), seat));
            }
            Err(no_seat) => {
                let answered = !door.acceptor.is_encrypted();
                turn_away(stream, no_seat, answered, &refusals, &tasks);
            }
        }
    }
    drop(listener);
    tasks.close();
    see_off(&link);
    let patience = Duration::from_millis(link.config.drain_ms) + LINGER;
    if timeout(patience, tasks.wait()).await.is_err() {
        tracing::warn!(
            connections = tasks.len(),
            "connections did not close in time"
        );
    }
    drop(closed);
    Ok(())
}

/// One that expects TLS is not answered: the handshake would cost us more than the connection costs its client.
fn turn_away(
    mut stream: TcpStream,
    no_seat: NoSeat,
    answered: bool,
    refusals: &Arc<Semaphore>,
    tasks: &TaskTracker,
) {
    let status = match no_seat {
        NoSeat::Full { .. } => 503,
        NoSeat::AddressFull { .. } => 429,
    };
    count_refused(status);
    if !answered {
        return;
    }
    let Ok(permit) = Arc::clone(refusals).try_acquire_owned() else {
        return;
    };
    tasks.spawn(async move {
        // Whether it was read is the client's affair.
        let _ = timeout(REFUSAL, refuse(&mut stream, status, &no_seat.to_string())).await;
        drop(permit);
    });
}

fn count_refused(status: u16) {
    metrics::counter!("flare_access_gateway_handshakes_refused_total", "status" => status.to_string()).increment(1);
}

/// One connection. What is needed only at its beginning is boxed, so that an idle one does not hold it.
async fn one(stream: TcpStream, link: Arc<Link>, door: Arc<Door>, seat: Seat) {
    let patience = door.patience;
    let handshake = Box::pin(async move {
        stream.set_nodelay(true)?;
        let stream = door.acceptor.accept(stream).await?;
        accept(stream, &door.options).await
    });
    let Accepted {
        mut socket, codec, ..
    } = match timeout(patience, handshake).await {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(AcceptError::Refused { status, .. })) => return count_refused(status),
        Ok(Err(AcceptError::Io(_))) | Err(_) => return count_refused(0),
    };
    if let Some(session) = Box::pin(link::connect(&link, &mut socket, codec)).await {
        session.run(&mut socket, codec).await;
    }
    drop(seat);
}

/// Tells every client when to reconnect: not all at once.
fn see_off(link: &Link) {
    for connection in link.connections.all() {
        connection.goaway(link.reconnect_after_ms());
    }
}
