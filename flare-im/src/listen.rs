//! What `flare up --listen` sets above the configuration: the listeners.

use anyhow::{Context, bail};

/// How the listeners' ports follow from core-gateway's.
const OPS_PORT_OFFSET: u16 = 10_000;

/// The addresses that `--listen` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// HTTP, gRPC and the page.
    pub core_gateway: String,
    /// WebSocket.
    pub access_gateway: String,
    /// Health and metrics: on loopback always.
    pub ops: String,
}

impl Listen {
    /// `HOST` or `HOST:PORT`. A port names core-gateway's; the access gateway is one above, health and metrics ten thousand above. Port 0: any free ones.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') || host.starts_with('[') => {
                let port = port
                    .parse::<u16>()
                    .with_context(|| format!("--listen {text}: {port:?} is no port"))?;
                (host, port)
            }
            _ => (text, 8080),
        };
        let (access, ops) = match port {
            0 => (0, 0),
            port => {
                let access = port.checked_add(1);
                let ops = port.checked_add(OPS_PORT_OFFSET);
                match access.zip(ops) {
                    Some(both) => both,
                    None => bail!(
                        "--listen {text}: the port must leave room for {OPS_PORT_OFFSET} above it, or be 0"
                    ),
                }
            }
        };
        Ok(Self {
            core_gateway: format!("{host}:{port}"),
            access_gateway: format!("{host}:{access}"),
            ops: format!("127.0.0.1:{ops}"),
        })
    }

    /// The keys that it stands for.
    pub fn toml(&self) -> String {
        format!(
            "[process]\nops_listen = {:?}\n\n[core_gateway]\nlisten = {:?}\n\n[access_gateway]\nlisten = {:?}\n",
            self.ops, self.core_gateway, self.access_gateway
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_ports_follow_from_the_first() {
        let listen = Listen::parse("127.0.0.1:9000").expect("parses");
        assert_eq!(listen.core_gateway, "127.0.0.1:9000");
        assert_eq!(listen.access_gateway, "127.0.0.1:9001");
        assert_eq!(listen.ops, "127.0.0.1:19000");
        assert_eq!(
            Listen::parse("0.0.0.0").expect("parses").access_gateway,
            "0.0.0.0:8081"
        );
        assert_eq!(
            Listen::parse("[::1]:0").expect("parses").core_gateway,
            "[::1]:0"
        );
        assert!(Listen::parse("127.0.0.1:60000").is_err());
        assert!(Listen::parse("127.0.0.1:http").is_err());
    }
}
