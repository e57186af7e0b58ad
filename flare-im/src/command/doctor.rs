//! `flare doctor`: whether this machine is fit for a server, and what to do where it is not.

mod disk;
mod folder;
mod machine;
mod ports;

use std::fmt;

use anyhow::bail;
use serde::Serialize;

use super::load;
use crate::{cli, listen::Listen, output::say, role::Role};

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    /// As it should be.
    Ok,
    /// A server runs, and may come to grief.
    Warning,
    /// A server does not start, or does not keep what it promises.
    Problem,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}

/// What was looked at, what it is like, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Ok,
            what: what.into(),
            advice: None,
        }
    }

    fn warning(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            advice: Some(advice.into()),
            ..Self::ok(check, what)
        }
    }

    fn problem(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            level: Level::Problem,
            ..Self::warning(check, what, advice)
        }
    }
}

/// Looks at everything, and says what it finds. An error: there is a problem.
pub async fn run(args: &cli::Doctor) -> anyhow::Result<()> {
    let listen = args.listen.as_deref().map(Listen::parse).transpose()?;
    let listen = listen.map(|it| ("argument --listen", it.toml()));
    let config = load(&args.config, &Role::ALL, listen)?.config;
    let data = args.data.folder.clone();
    let findings = tokio::task::spawn_blocking(move || {
        let folder = folder::look(&data);
        let mut findings = folder.findings;
        if let Some(place) = &folder.place {
            findings.push(disk::room(place, &config.base.log));
            findings.extend(disk::sync_speed(place));
            findings.push(machine::clock(place));
        }
        findings.push(machine::open_files(&config));
        findings.extend(ports::look(&config, folder.holder));
        findings
    })
    .await?;
    if args.json {
        say!("{}", serde_json::to_string(&findings)?);
    } else {
        for finding in &findings {
            say!("{:8} {:12} {}", finding.level, finding.check, finding.what);
            if let Some(advice) = &finding.advice {
                say!("{:21} {advice}", "");
            }
        }
    }
    let problems = findings
        .iter()
        .filter(|it| it.level == Level::Problem)
        .count();
    if problems > 0 {
        bail!("{problems} to be put right before a server runs here");
    }
    Ok(())
}
