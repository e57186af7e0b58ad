//! The binary of one service.

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser};

use super::{
    ConfigArgs, Configured, DataFolder, DevelopmentSignIn, Ground, Hosted, begin, data_folder,
    load, run_to_end, start,
};
use crate::{config::Section, registry::service, service::ServiceError};

/// The command line of a service's binary.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where its data is.
    #[command(flatten)]
    data: DataFolder,
    /// Where the configuration comes from.
    #[command(flatten)]
    config: ConfigArgs,
    /// Check the configuration, and start nothing.
    #[arg(long)]
    check_config: bool,
    /// Print the configuration with where each value comes from, secrets masked, and start nothing.
    #[arg(long, conflicts_with = "check_config")]
    print_config: bool,
    /// Print one line of JSON with the bound addresses once it is ready.
    #[arg(long)]
    json: bool,
}

/// Runs the service called `name`, whose section `S` has, until a signal: what each binary of a service does. `about` is for its help.
pub fn main<S: Section>(
    name: &'static str,
    about: &'static str,
    host: impl FnOnce(S) -> Hosted,
) -> ExitCode {
    let command = Arguments::command()
        .name(name)
        .version(env!("CARGO_PKG_VERSION"))
        .about(about);
    let arguments = match Arguments::from_arg_matches(&command.get_matches()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    match run(name, &arguments, host) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run<S: Section>(
    name: &'static str,
    arguments: &Arguments,
    host: impl FnOnce(S) -> Hosted,
) -> Result<(), ServiceError> {
    let known = service::known(name).ok_or("no service of the house has this name")?;
    let preset = Some((name, known.preset()));
    let loaded = load::<S>(&arguments.config, &[name], preset, None)?;
    if arguments.print_config {
        return Ok(write!(stdout(), "{}", loaded.print())?);
    }
    if arguments.check_config {
        return Ok(writeln!(stdout(), "the configuration is good")?);
    }
    let Configured { base, services } = loaded.config;
    run_to_end(async {
        let telemetry = begin(&base, name, vec![name.to_owned()])?;
        let (data, _) = data_folder(&arguments.data.folder)?;
        let ground = Ground {
            data,
            telemetry: telemetry.clone(),
            development_sign_in: DevelopmentSignIn::Off,
        };
        let process = start(&base, &ground, vec![host(services)]).await?;
        if arguments.json {
            let addresses = serde_json::to_string(process.addresses())?;
            writeln!(stdout(), "{addresses}")?;
        }
        tracing::info!(addresses = ?process.addresses(), "ready");
        process.serve_until_signal(telemetry).await?;
        Ok(())
    })?
}
