//! The command line: what `flare` takes, and its help texts.

mod bench;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::role::Role;

pub use self::bench::{Bench, BenchLoad, BenchServer};
pub use flare_server_core::process::{ConfigArgs, DataFolder};

/// Flare IM Core: an instant messaging core for your product, in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "flare",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `flare` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start everything in this process, with a page to chat on.
    ///
    /// A fresh data folder gets a secret, the users alice, bob and carol, and a group that they share.
    Up(Up),
    /// Start some roles in this process, as the configuration says.
    Run(Run),
    /// Make a token for a user, signed with the data folder's key.
    Token(Token),
    /// Make, list and revoke the API keys of business backends.
    #[command(subcommand)]
    Apikey(ApiKey),
    /// Chat from the terminal, line by line.
    Chat(Chat),
    /// Send one message.
    Send(Send),
    /// Print what happens in a user's conversations, one line an event.
    Tail(Tail),
    /// Measure a running server.
    #[command(subcommand)]
    Bench(Bench),
    /// Check the data folder of a stopped server, its log against its store, or clients' histories, against the promises.
    Verify(Verify),
    /// Say where a message went: placed, stored, delivered, read.
    Explain(Explain),
    /// Check or print the configuration, or the pages about it.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make certificates for development: an authority, and what it has signed for clients and for processes.
    ///
    /// Where the folder has an authority already, it signs again: who believes it goes on believing. Servers that run take the new
    /// certificates over by themselves.
    Certs(Certs),
    /// Make the topics of a cluster in Kafka.
    #[cfg(feature = "cluster")]
    #[command(subcommand)]
    Topics(Topics),
    /// Look at this machine as a server would find it, and say what to put right.
    ///
    /// Nothing is changed. Ends with an error if a server would not start here, or not keep its promises.
    Doctor(Doctor),
    /// Accept that a file of the data folder is lost, or another than it was, where a start refuses it.
    ///
    /// What is there is taken as it is at the next start, and made anew if it is missing: what only that file held is gone for good.
    AcceptLoss(AcceptLoss),
}

/// What `flare topics` does.
#[cfg(feature = "cluster")]
#[derive(Clone, Debug, Subcommand)]
pub enum Topics {
    /// Make the topics that are not there, and check those that are.
    ///
    /// The section kafka of the configuration says where Kafka is, and how many partitions the message log has: that cannot be changed
    /// later. A topic that is there is never altered: the command ends with an error if one is not as it must be.
    Create {
        /// Copies of each record, on brokers of their own. Fewer than 3 need kafka.allow_single_replica.
        #[arg(long, value_name = "N", default_value_t = 3)]
        replicas: u16,
        /// Where the configuration comes from.
        #[command(flatten)]
        config: ConfigArgs,
    },
}

/// Arguments of `flare up`.
#[derive(Clone, Debug, Args)]
pub struct Up {
    /// Where its data is.
    #[command(flatten)]
    pub data: DataFolder,
    /// Address to listen on, whatever files, variables and --set say; not given: they decide, and 127.0.0.1:8080 if they are silent.
    ///
    /// A port given here is core-gateway's; the others follow (+1; +10000), or are free ones if it is 0.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub listen: Option<String>,
    /// Keep the data in a temporary folder that goes with the process.
    #[arg(long, conflicts_with = "data")]
    pub ephemeral: bool,
    /// Allow development sign-in although a listener is reachable from other machines.
    #[arg(long)]
    pub dev: bool,
    /// Print one line of JSON with the bound addresses instead of the welcome.
    #[arg(long)]
    pub json: bool,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Arguments of `flare run`.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// A role of this process; may be repeated, or named as a list.
    #[arg(
        long = "role",
        value_name = "ROLE",
        required = true,
        value_delimiter = ','
    )]
    pub roles: Vec<Role>,
    /// Where its data is.
    #[command(flatten)]
    pub data: DataFolder,
    /// Print one line of JSON with the bound addresses.
    #[arg(long)]
    pub json: bool,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Arguments of `flare token`.
#[derive(Clone, Debug, Args)]
pub struct Token {
    /// Whose token.
    #[arg(long)]
    pub user: String,
    /// Whose tenant.
    #[arg(long, default_value = "default")]
    pub tenant: String,
    /// Only for this device.
    #[arg(long)]
    pub device: Option<String>,
    /// How long it is good, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub ttl: u64,
    /// Where its data is.
    #[command(flatten)]
    pub data: DataFolder,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `flare apikey` does.
#[derive(Clone, Debug, Subcommand)]
pub enum ApiKey {
    /// Make a key. Its secret is shown once.
    Create {
        /// What it is for.
        #[arg(long)]
        name: String,
        /// What it may do; may be repeated: send, conversations, read, presence, admin.
        #[arg(long = "scope", required = true, value_delimiter = ',')]
        scopes: Vec<String>,
        /// Whose tenant.
        #[arg(long, default_value = "default")]
        tenant: String,
        /// Which store.
        #[command(flatten)]
        store: ApiKeyStore,
    },
    /// List the keys, without their secrets.
    List {
        /// Whose tenant.
        #[arg(long, default_value = "default")]
        tenant: String,
        /// Which store.
        #[command(flatten)]
        store: ApiKeyStore,
    },
    /// Make a key worthless at once.
    Revoke {
        /// The key's id, as `list` shows it.
        key_id: String,
        /// Whose tenant.
        #[arg(long, default_value = "default")]
        tenant: String,
        /// Which store.
        #[command(flatten)]
        store: ApiKeyStore,
    },
}

/// Where the API keys are.
#[derive(Clone, Debug, Args)]
pub struct ApiKeyStore {
    /// Where its data is.
    #[command(flatten)]
    pub data: DataFolder,
    /// Where the configuration comes from: by process.adapters the keys are in the data folder, or in the PostgreSQL of a cluster.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Where clients connect, and whom they believe there.
#[derive(Clone, Debug, Args)]
pub struct LinkAddress {
    /// The access gateway's address.
    #[arg(
        long,
        value_name = "URL",
        default_value = "ws://127.0.0.1:8081/ws",
        env = "FLARE_URL"
    )]
    pub url: String,
    /// An authority to believe beside the public ones, as PEM, such as the one that `flare certs` makes; for wss.
    #[arg(long, value_name = "FILE", env = "FLARE_CA")]
    pub ca: Option<PathBuf>,
}

/// How a command reaches a server as a user.
#[derive(Clone, Debug, Args)]
pub struct Client {
    /// Which server.
    #[command(flatten)]
    pub link: LinkAddress,
    /// The user's token; without it one is made for `--user` with the data folder's key.
    #[arg(long, env = "FLARE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Who, if no token is given.
    #[arg(long)]
    pub user: Option<String>,
    /// Which device this is.
    #[arg(long, default_value = "terminal")]
    pub device: String,
    /// Where its data is.
    #[command(flatten)]
    pub data: DataFolder,
}

/// Where a message goes.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// The other user of a direct conversation.
    #[arg(long, value_name = "USER")]
    pub to: Option<String>,
    /// A conversation.
    #[arg(long, value_name = "ID")]
    pub conversation: Option<String>,
}

/// Arguments of `flare chat`.
#[derive(Clone, Debug, Args)]
pub struct Chat {
    /// As whom.
    #[command(flatten)]
    pub client: Client,
    /// With whom.
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of `flare send`.
#[derive(Clone, Debug, Args)]
pub struct Send {
    /// As whom.
    #[command(flatten)]
    pub client: Client,
    /// To whom.
    #[command(flatten)]
    pub target: Target,
    /// The message's client id: a repetition with the same one is not stored again.
    #[arg(long)]
    pub client_id: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The text; `-` reads it from standard input.
    pub text: String,
}

/// Arguments of `flare tail`.
#[derive(Clone, Debug, Args)]
pub struct Tail {
    /// As whom.
    #[command(flatten)]
    pub client: Client,
    /// Only this conversation.
    #[arg(long, value_name = "ID")]
    pub conversation: Option<String>,
    /// End after so many events.
    #[arg(long, value_name = "COUNT")]
    pub count: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `flare verify`.
#[derive(Clone, Debug, Args)]
pub struct Verify {
    /// Where its data is.
    #[command(flatten)]
    pub data: DataFolder,
    /// A client's history, to be checked too; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub history: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `flare explain`.
#[derive(Clone, Debug, Args)]
pub struct Explain {
    /// The message's id.
    pub message_id: String,
    /// core-gateway's address.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        env = "FLARE_API"
    )]
    pub api: String,
    /// An authority to believe beside the public ones, as PEM; for https.
    #[arg(long, value_name = "FILE", env = "FLARE_CA")]
    pub ca: Option<PathBuf>,
    /// An API key with the scope `admin`.
    #[arg(long, env = "FLARE_API_KEY", hide_env_values = true)]
    pub api_key: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `flare certs`.
#[derive(Clone, Debug, Args)]
pub struct Certs {
    /// Where they go.
    #[arg(long, value_name = "FOLDER", default_value = "flare-certs")]
    pub out: PathBuf,
    /// A name or address by which clients reach the server; may be repeated. Not given: localhost, 127.0.0.1 and ::1.
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// How long the certificates are good, in days; the authority is for ten years.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub days: u32,
    /// Make a new authority although there is one: nobody who believes the old one believes it.
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `flare doctor`.
#[derive(Clone, Debug, Args)]
pub struct Doctor {
    /// Where its data is.
    #[command(flatten)]
    pub data: DataFolder,
    /// Address to listen on, as for `flare up`.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub listen: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Arguments of `flare accept-loss`.
#[derive(Clone, Debug, Args)]
pub struct AcceptLoss {
    /// The file's name in the data folder, as the refusal says it, such as `session/session.sqlite`.
    pub name: String,
    /// Where its data is.
    #[command(flatten)]
    pub data: DataFolder,
}

/// What `flare config` does.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say every mistake of the configuration, with file and key.
    Check {
        /// Where the configuration comes from.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Print the whole configuration, secrets masked.
    Print {
        /// Where the configuration comes from.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Print every key with its default and what it is: the page doc/configuration.md.
    Reference,
    /// Print what is limited, and what happens beyond it: the page doc/limits.md.
    Limits,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
