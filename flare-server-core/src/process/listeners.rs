//! Binds every listener before anything else is built, and says why an address is refused.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

/// Connections that wait to be accepted: enough for thousands of clients that reconnect at once.
const BACKLOG: i32 = 4096;

/// An address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("{listener} cannot listen on {address}: {why}")]
pub struct ListenError {
    listener: String,
    address: String,
    why: String,
}

/// Binds `address` (`host:port`; port 0: any free one) for the listener called `listener`.
pub(super) fn bind(listener: &str, address: &str) -> Result<TcpListener, ListenError> {
    let refused = |why: String| ListenError {
        listener: listener.to_owned(),
        address: address.to_owned(),
        why,
    };
    let resolved = address
        .to_socket_addrs()
        .map_err(|error| {
            refused(format!(
                "the address does not resolve: {error}; write host:port, as in 127.0.0.1:8080"
            ))
        })?
        .next()
        .ok_or_else(|| refused("the name has no address".to_owned()))?;
    open(resolved).map_err(|error| refused(explain(&error, resolved)))
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart need not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn explain(error: &io::Error, address: SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {} is in use by another process; end it, or choose another port (0: any free one)",
            address.port()
        ),
        io::ErrorKind::PermissionDenied => {
            format!(
                "this user may not use port {}; choose one above 1023",
                address.port()
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{} is no address of this machine", address.ip())
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_what_to_do() {
        let first = bind("first", "127.0.0.1:0").expect("binds");
        let address = first.local_addr().expect("has an address").to_string();
        let refused = bind("second", &address).expect_err("in use").to_string();
        assert!(
            refused.contains("second cannot listen on") && refused.contains("in use"),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_refused_with_an_example() {
        let refused = bind("link", "nowhere").expect_err("no port").to_string();
        assert!(refused.contains("host:port"), "{refused}");
    }
}
