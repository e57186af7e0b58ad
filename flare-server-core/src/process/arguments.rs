//! What every binary takes on its command line.

use std::path::PathBuf;

use clap::Args;

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArgs {
    /// Folder with base.toml, services/ and environments/.
    #[arg(long, value_name = "FOLDER", env = "FLARE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Which file of environments/ applies.
    #[arg(long, value_name = "NAME", env = "FLARE_ENVIRONMENT")]
    pub environment: Option<String>,
    /// Set a key, above every file and variable; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Where a server keeps what it must not lose.
#[derive(Clone, Debug, Args)]
pub struct DataFolder {
    /// Folder of the server's data.
    #[arg(
        id = "data",
        long = "data",
        value_name = "FOLDER",
        default_value = "flare-data",
        env = "FLARE_DATA"
    )]
    pub folder: PathBuf,
}
