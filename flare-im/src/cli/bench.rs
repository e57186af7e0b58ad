//! Arguments of `flare bench`.

use clap::{Args, Subcommand};

use super::{DataFolder, LinkAddress};

/// What `flare bench` measures.
#[derive(Clone, Debug, Subcommand)]
pub enum Bench {
    /// Pairs of users: one writes as fast as his acks come, or at a rate; the other receives.
    Direct {
        /// What is put on the server.
        #[command(flatten)]
        load: BenchLoad,
        /// Messages a second of all pairs together, each at its time. Times are measured from when a message was due; who has
        /// his window full sends it late.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        rate: Option<u32>,
        /// Which server.
        #[command(flatten)]
        server: BenchServer,
    },
    /// More than the server can do: its peak first, then the same with several times the pairs, each with its full window.
    ///
    /// Whoever is refused waits as long as the server says, and sends the same again. Ends with an error if too little is left of the
    /// peak, if deliveries fall behind the acks, if the server takes more memory than it may, or if a promise is broken. Give the server
    /// and this command a core each, or both measure the other.
    Overload {
        /// The load of the peak.
        #[command(flatten)]
        load: BenchLoad,
        /// How many times the pairs are the overload; several, apart by commas, make a curve.
        #[arg(long, value_delimiter = ',', default_value = "5", value_parser = clap::value_parser!(u32).range(2..=100))]
        times: Vec<u32>,
        /// How often the loads come one after the other. What is left is judged over all rounds: a server that has to tidy its store in the
        /// one does not in the other.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
        rounds: u32,
        /// The share of the peak that must be left, under each load.
        #[arg(long, default_value_t = 0.8)]
        least_ratio: f64,
        /// End with an error unless the highest load was refused something: otherwise it was none.
        #[arg(long)]
        refusals_demanded: bool,
        /// The most resident memory that the server may take under any load, in MiB.
        #[arg(long, requires = "pid")]
        most_mib: Option<u64>,
        /// The server's process, for its memory before, meanwhile and after.
        #[arg(long)]
        pid: Option<u32>,
        /// Which server.
        #[command(flatten)]
        server: BenchServer,
    },
    /// Connections that do nothing: what each costs the server.
    Idle {
        /// How many.
        #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
        connections: u32,
        /// The server's process, for its memory before and after.
        #[arg(long)]
        pid: Option<u32>,
        /// How long to hold them, in seconds.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
        seconds: u64,
        /// Which server.
        #[command(flatten)]
        server: BenchServer,
    },
}

/// What is put on the server.
#[derive(Clone, Copy, Debug, Args)]
pub struct BenchLoad {
    /// How many pairs.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub pairs: u32,
    /// How many of them the history checker judges; it costs time of the generator.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub checked_pairs: u32,
    /// Unacked messages of each sender.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub in_flight: u32,
    /// Bytes of text in a message.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub bytes: u32,
    /// How long, in seconds, after a second to warm up.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
}

/// Which server is measured.
#[derive(Clone, Debug, Args)]
pub struct BenchServer {
    /// Where it is.
    #[command(flatten)]
    pub link: LinkAddress,
    /// Where its data is, to make tokens with its key.
    #[command(flatten)]
    pub data: DataFolder,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
