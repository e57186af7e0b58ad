//! The listener of the client link.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use flare_core::transport::websocket::{AcceptError, AcceptOptions, Accepted, accept, refuse};
use flare_server_core::service::ServiceError;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::DropGuard, task::TaskTracker};

use super::link::{self, Link};
use crate::domain::seats::{NoSeat, Seats};

/// After the system refused a connection, for want of file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Refusals that are being written; beyond, connections are just dropped.
const REFUSALS: usize = 64;
/// A refusal is written within this.
const REFUSAL: Duration = Duration::from_secs(1);
/// After the drain's deadline, closes take no longer.
const LINGER: Duration = Duration::from_secs(3);

/// A connection's place; given back when dropped.
struct Seat {
    seats: Arc<Mutex<Seats>>,
    address: IpAddr,
}

impl Seat {
    fn take(seats: &Arc<Mutex<Seats>>, address: IpAddr) -> Result<Self, NoSeat> {
        let mut locked = seats.lock().unwrap_or_else(PoisonError::into_inner);
        locked.take(address)?;
        metrics::gauge!("flare_access_gateway_connections").set(locked.taken() as f64);
        Ok(Self {
            seats: Arc::clone(seats),
            address,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut locked = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        locked.give_back(self.address);
        metrics::gauge!("flare_access_gateway_connections").set(locked.taken() as f64);
    }
}

/// Accepts connections until the drain, then sees them off. `closed` is cancelled when there are none any more.
pub async fn serve(
    listener: TcpListener,
    link: Arc<Link>,
    closed: DropGuard,
) -> Result<(), ServiceError> {
    let seats = Arc::new(Mutex::new(Seats::new(
        link.config.max_connections,
        link.config.max_connections_per_ip,
    )));
    let options = Arc::new(link.accept_options());
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
        match Seat::take(&seats, peer.ip().to_canonical()) {
            Ok(seat) => {
                tasks.spawn(one(stream, Arc::clone(&link), Arc::clone(&options), seat));
            }
            Err(no_seat) => turn_away(stream, no_seat, &refusals, &tasks),
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

fn turn_away(
    mut stream: TcpStream,
    no_seat: NoSeat,
    refusals: &Arc<Semaphore>,
    tasks: &TaskTracker,
) {
    let status = match no_seat {
        NoSeat::Full { .. } => 503,
        NoSeat::AddressFull { .. } => 429,
    };
    count_refused(status);
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
async fn one(stream: TcpStream, link: Arc<Link>, options: Arc<AcceptOptions>, seat: Seat) {
    let patience = Duration::from_millis(link.config.handshake_ms);
    let handshake = Box::pin(async move {
        stream.set_nodelay(true)?;
        accept(stream, &options).await
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
