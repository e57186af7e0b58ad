//! How this process reaches Kafka: what its log and its event bus share.

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

pub use crate::servers::KafkaConfig;

pub(crate) mod goodbye;
pub mod topics;

/// A broker's session of more than this makes its death end every epoch: below the socket's timeout, which is below the message's.
pub const SOCKET_TIMEOUT_MS: u32 = 5_000;
/// A record whose report has not come by then has an unknown outcome.
pub const MESSAGE_TIMEOUT_MS: u32 = 12_000;

impl KafkaConfig {
    /// What every client of it begins with.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", self.bootstrap_servers.join(","))
            .set("socket.timeout.ms", SOCKET_TIMEOUT_MS.to_string())
            // A system repeats what was lost of a beginning connection ever more rarely, with pauses of 8 and 16 seconds: a new one is earlier.
            .set(
                "socket.connection.setup.timeout.ms",
                SOCKET_TIMEOUT_MS.to_string(),
            )
            .set("socket.nagle.disable", "true")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "500")
            .set_log_level(RDKafkaLogLevel::Warning);
        client
    }

    /// A topic's or group's name as Kafka knows it.
    pub(crate) fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use rdkafka::consumer::{BaseConsumer, Consumer};
    use socket2::{Domain, Socket, Type};
    use tokio::{
        net::{TcpListener, TcpStream},
        time::{Instant, sleep_until, timeout},
    };

    use super::*;

    /// So long nobody comes in: what Linux (6.5 or later) sent after 11 seconds is lost, and the next is after 19.
    const SHUT: Duration = Duration::from_millis(11_500);
    /// Whoever begins anew every few seconds is in by then.
    const IN_BY: Duration = Duration::from_secs(4);
    /// Where there is room, the system lets in at once.
    const AT_ONCE: Duration = Duration::from_millis(300);

    /// Before a server that stands still: all the room there is, and who takes it.
    async fn crowd() -> (TcpListener, Vec<TcpStream>) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        socket.set_nonblocking(true).unwrap();
        let door = TcpListener::from_std(socket.into()).unwrap();
        let (address, mut crowd) = (door.local_addr().unwrap(), Vec::new());
        while let Ok(stream) = timeout(AT_ONCE, TcpStream::connect(address)).await {
            crowd.push(stream.unwrap());
        }
        (door, crowd)
    }

    #[tokio::test]
    async fn who_finds_no_room_before_a_server_begins_anew_rather_than_wait_ever_longer() {
        let (door, crowd) = crowd().await;
        let kafka = KafkaConfig {
            bootstrap_servers: vec![door.local_addr().unwrap().to_string()],
            ..KafkaConfig::default()
        };
        let mut client = kafka.client();
        let client: BaseConsumer = client.set("group.id", "group").create().unwrap();
        client.subscribe(&["topic"]).unwrap();
        sleep_until(Instant::now() + SHUT).await;
        let opened = Instant::now();
        let comes_in = async {
            for _ in &crowd {
                door.accept().await.unwrap();
            }
            door.accept().await.unwrap();
        };
        timeout(3 * IN_BY, comes_in).await.unwrap();
        assert!(opened.elapsed() < IN_BY, "{:?}", opened.elapsed());
    }
}
