//! The addresses that a server listens on.

use std::{io::ErrorKind, net::TcpListener};

use super::Finding;
use crate::config::Config;

const CHECK: &str = "ports";

/// Whether each address can be had. `holder`: the process that has the data folder, and so, if anybody, the addresses.
pub(super) fn look(config: &Config, holder: Option<Option<u32>>) -> Vec<Finding> {
    let addresses = [
        ("core_gateway.listen", &config.services.core_gateway.listen),
        (
            "access_gateway.listen",
            &config.services.access_gateway.listen,
        ),
        ("process.ops_listen", &config.base.process.ops_listen),
        ("peer.listen", &config.base.peer.listen),
    ];
    addresses
        .into_iter()
        .filter(|(_, address)| !address.is_empty())
        .map(|(key, address)| one(key, address, holder))
        .collect()
}

fn one(key: &str, address: &str, holder: Option<Option<u32>>) -> Finding {
    let error = match TcpListener::bind(address) {
        Ok(_) => return Finding::ok(CHECK, format!("{address} ({key}) is free")),
        Err(error) => error,
    };
    let what = format!("{address} ({key}): {error}");
    match (error.kind(), holder) {
        (ErrorKind::AddrInUse, Some(_)) => Finding::ok(
            CHECK,
            format!("{address} ({key}) is taken, and so is the data folder: a server runs"),
        ),
        (ErrorKind::AddrInUse, None) => Finding::problem(
            CHECK,
            what,
            "end what listens there (`ss -ltnp` names it), or choose another address: `flare up --listen HOST:PORT`",
        ),
        (ErrorKind::PermissionDenied, _) => Finding::problem(
            CHECK,
            what,
            "ports below 1024 are the administrator's: choose a higher one, and let a proxy listen there",
        ),
        _ => Finding::problem(
            CHECK,
            what,
            format!("set {key} to an address of this machine"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::doctor::Level;

    #[test]
    fn a_port_that_somebody_has_is_a_problem_unless_it_is_our_server() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("bound").to_string();
        assert_eq!(one("a", &address, None).level, Level::Problem);
        assert_eq!(one("a", &address, Some(Some(7))).level, Level::Ok);
        assert_eq!(one("a", "127.0.0.1:0", None).level, Level::Ok);
        assert_eq!(one("a", "192.0.2.1:80", None).level, Level::Problem);
        let mut config = Config::default();
        config.services.core_gateway.listen = "127.0.0.1:0".to_owned();
        config.services.access_gateway.listen.clone_from(&address);
        config.base.process.ops_listen = String::new();
        let found = look(&config, None);
        let levels: Vec<_> = found.iter().map(|it| it.level).collect();
        assert_eq!(levels, [Level::Ok, Level::Problem]);
    }
}
