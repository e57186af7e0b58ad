//! Ports that nobody else has.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, TcpListener},
    ops::Range,
};

use anyhow::Context;

/// Below are ports that servers are known by.
const LOWEST: u16 = 20_000;
/// Too few to choose from.
const FEW: u16 = 1_000;
const ATTEMPTS: usize = 64;

/// A port of loopback that is held until this value goes: just before its server is started.
pub(super) struct Port {
    number: u16,
    _held: TcpListener,
}

impl Port {
    /// Takes one by chance, below those that the system gives to outgoing connections: a server that is down for a while must find its port free
    /// when it comes back, and a client that tries to reach it meanwhile must not reach itself.
    pub(super) fn take() -> anyhow::Result<Self> {
        let system = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let range = system.ok().and_then(|it| below(&it));
        let mut last = None;
        for _ in 0..ATTEMPTS {
            // Without such a range any port will do.
            let wanted = range.clone().map_or(0, chosen);
            match TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)) {
                Ok(held) => {
                    let number = held.local_addr()?.port();
                    return Ok(Self {
                        number,
                        _held: held,
                    });
                }
                Err(error) => last = Some(error),
            }
        }
        let last = last.context("no port was tried")?;
        Err(last).context("no free port on 127.0.0.1")
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    pub(super) fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.number)
    }
}

/// The ports below those of outgoing connections, if there are enough.
fn below(system: &str) -> Option<Range<u16>> {
    let first: u16 = system.split_whitespace().next()?.parse().ok()?;
    (first >= LOWEST + FEW).then_some(LOWEST..first)
}

fn chosen(range: Range<u16>) -> u16 {
    // Every hasher of the standard library has a random key.
    let [low, high, ..] = RandomState::new().hash_one(()).to_le_bytes();
    range.start + u16::from_le_bytes([low, high]) % (range.end - range.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_held_until_it_goes() {
        let port = Port::take().unwrap();
        let address = port.address();
        TcpListener::bind(&address).unwrap_err();
        drop(port);
        TcpListener::bind(&address).unwrap();
    }

    #[test]
    fn ports_are_below_those_of_outgoing_connections() {
        assert_eq!(below("32768\t60999\n"), Some(20_000..32_768));
        assert_eq!(below("1024 65535"), None);
        assert_eq!(below("nothing"), None);
        for _ in 0..1_000 {
            assert!((20_000..32_768).contains(&chosen(20_000..32_768)));
        }
    }
}
