//! Arguments of `flare bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What `flare bench` measures.
#[derive(Clone, Debug, Subcommand)]
pub enum Bench {
    /// Pairs of users: one writes as fast as his acks come, the other receives.
    Direct {
        /// How many pairs.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        pairs: u32,
        /// How many of them the history checker judges; it costs time of the generator.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        checked_pairs: u32,
        /// Unacked messages of each sender.
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=64))]
        in_flight: u32,
        /// Bytes of text in a message.
        #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=60_000))]
        bytes: u32,
        /// How long, in seconds, after a second to warm up.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
        seconds: u64,
        /// Which server.
        #[command(flatten)]
        server: BenchServer,
    },
    /// More than the server can do: its peak first, then the same with several times the pairs, each with its full window.
    ///
    /// Whoever is refused waits as long as the server says, and sends the same again. Ends with an error if too little is left of the
    /// peak, or if a promise is broken. Give the server and this command a core each, or both measure the other.
    Overload {
        /// How many pairs the peak is measured with.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        pairs: u32,
        /// How many times the pairs are the overload.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
        times: u32,
        /// How many pairs of each step the history checker judges; it costs time of the generator.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        checked_pairs: u32,
        /// Unacked messages of each sender; no more than the server allows.
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
        in_flight: u32,
        /// Bytes of text in a message.
        #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=60_000))]
        bytes: u32,
        /// How long each step takes, in seconds, after a second to warm up.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
        seconds: u64,
        /// The share of the peak that must be left.
        #[arg(long, default_value_t = 0.8)]
        least_ratio: f64,
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

/// Which server is measured.
#[derive(Clone, Debug, Args)]
pub struct BenchServer {
    /// The access gateway's address.
    #[arg(
        long,
        value_name = "URL",
        default_value = "ws://127.0.0.1:8081/ws",
        env = "FLARE_URL"
    )]
    pub url: String,
    /// An authority to believe beside the public ones, as PEM; for wss.
    #[arg(long, value_name = "FILE", env = "FLARE_CA")]
    pub ca: Option<PathBuf>,
    /// Folder of the server's data, to make tokens with its key.
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "flare-data",
        env = "FLARE_DATA"
    )]
    pub data: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
