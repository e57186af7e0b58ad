//! Which deployments there are.

use std::{fmt, str::FromStr, time::Duration};

/// How a deployment is cut into processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `flare up`: everything in one process.
    Embedded,
    /// The two gateways in a process of their own; a static registry and mutual TLS between the two, and TLS for clients and backends.
    Split,
    /// A process for each service, two of each, on Kafka, PostgreSQL, Redis and etcd.
    Cluster,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Self; 3] = [Self::Embedded, Self::Split, Self::Cluster];
    /// Those that need nothing but the binaries.
    pub(crate) const SELF_CONTAINED: [Self; 2] = [Self::Embedded, Self::Split];

    /// For so long a send may be refused, to be sent again, once the processes that were killed are back. On a cluster owners that were killed while their group changed are missed one after
    /// the other, each 10 s later.
    pub(crate) const fn refuses_for(self) -> Duration {
        match self {
            Self::Embedded | Self::Split => Duration::ZERO,
            Self::Cluster => Duration::from_secs(25),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Split => "split",
            Self::Cluster => "cluster",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|it| it.to_string() == name)
            .ok_or_else(|| format!("no deployment {name:?}: there are embedded, split and cluster"))
    }
}
