//! `status`: what runs, and how it fares.

use std::{fmt, path::Path, process::ExitCode, thread};

use super::{
    place::{Place, end_of},
    process::{Condition, Family, Identity},
    state::{Run, Server},
    used::Used,
};

/// How a component fares.
#[derive(Debug, PartialEq, Eq)]
enum Health {
    /// It runs, as far as it is ours, and answers.
    Up,
    Paused,
    Silent(String),
    Dead,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Paused => "paused",
            Self::Silent(_) => "no answer",
            Self::Dead => "dead",
        })
    }
}

/// A line of the table.
struct Row {
    name: String,
    version: String,
    address: String,
    pid: String,
    memory: String,
    health: Health,
    log: String,
}

pub(super) fn run(place: &Place) -> anyhow::Result<ExitCode> {
    match Run::read(place)? {
        None => {
            println!("nothing runs here: `cargo xtask infra up` starts it");
            Ok(ExitCode::FAILURE)
        }
        Some(run) => {
            if !run.ready {
                println!("it never came to be ready: `cargo xtask infra up` starts it anew");
                return Ok(ExitCode::FAILURE);
            }
            show(&run, place)
        }
    }
}

/// Prints the table, and what is wrong. Fails unless all is up.
pub(super) fn show(run: &Run, place: &Place) -> anyhow::Result<ExitCode> {
    let family = Family::look()?;
    let rows: Vec<Row> = thread::scope(|scope| {
        let family = &family;
        let servers: Vec<_> = run
            .servers
            .iter()
            .map(|it| scope.spawn(move || of_server(it, family)))
            .collect();
        let used: Vec<_> = run
            .used
            .iter()
            .map(|it| scope.spawn(move || of_used(it)))
            .collect();
        servers
            .into_iter()
            .chain(used)
            .map(|it| {
                it.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    print!("{}", table(&rows));
    for row in &rows {
        match &row.health {
            Health::Up => {}
            Health::Paused => println!("\n{} is paused: kill -CONT {}", row.name, row.pid),
            Health::Silent(why) => println!("\n{} does not answer: {why}", row.name),
            Health::Dead => println!(
                "\n{} has died: `cargo xtask infra restart {0}` starts it with the same data\n{}",
                row.name,
                end_of(&place.log(&row.name))
            ),
        }
    }
    Ok(if rows.iter().all(|it| it.health == Health::Up) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn of_server(server: &Server, family: &Family) -> Row {
    let condition = server.process.map_or(Condition::Ended, Identity::condition);
    let health = match condition {
        Condition::Ended => Health::Dead,
        Condition::Paused => Health::Paused,
        Condition::Runs => {
            let recipe = server.component.recipe();
            match recipe.ask_with(&server.address, 1) {
                Ok(_) => Health::Up,
                Err(error) => Health::Silent(format!("{error:#}")),
            }
        }
    };
    let memory = match server.process {
        Some(process) if condition != Condition::Ended => {
            format!("{} MiB", family.memory_bytes(process.pid) >> 20)
        }
        _ => "-".to_owned(),
    };
    Row {
        name: server.name.clone(),
        version: server.version.clone(),
        address: server.address.clone(),
        pid: server
            .process
            .map_or_else(|| "-".to_owned(), |it| it.pid.to_string()),
        memory,
        health,
        log: shown(&server.log),
    }
}

fn of_used(used: &Used) -> Row {
    let (version, health) = match used.component.recipe().ask(&used.value) {
        Ok(version) => (version, Health::Up),
        Err(error) => (None, Health::Silent(format!("{error:#}"))),
    };
    let nothing = || "-".to_owned();
    Row {
        name: used.component.name().to_owned(),
        version: version.unwrap_or_else(nothing),
        address: used.addresses.join(","),
        pid: nothing(),
        memory: nothing(),
        health,
        log: "not ours".to_owned(),
    }
}

/// A path from where we stand, if it is below.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here)
        .unwrap_or(path)
        .display()
        .to_string()
}

fn table(rows: &[Row]) -> String {
    let head = [
        "component",
        "version",
        "address",
        "pid",
        "memory",
        "state",
        "log",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().map(|it| {
        [
            it.name.clone(),
            it.version.clone(),
            it.address.clone(),
            it.pid.clone(),
            it.memory.clone(),
            it.health.to_string(),
            it.log.clone(),
        ]
    }));
    let width = |column: usize| lines.iter().map(|it| it[column].len()).max();
    let widths: Vec<usize> = (0..head.len()).filter_map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infra::component::Component;

    #[test]
    fn columns_stand_below_each_other() {
        let row = |name: &str, health| Row {
            name: name.to_owned(),
            version: "1.2".to_owned(),
            address: "127.0.0.1:1".to_owned(),
            pid: "7".to_owned(),
            memory: "9 MiB".to_owned(),
            health,
            log: "log".to_owned(),
        };
        let rows = [row("kafka-1", Health::Up), row("redis", Health::Dead)];
        assert_eq!(
            table(&rows),
            "\
component  version  address      pid  memory  state  log
kafka-1    1.2      127.0.0.1:1  7    9 MiB   up     log
redis      1.2      127.0.0.1:1  7    9 MiB   dead   log
"
        );
    }

    #[test]
    fn what_nobody_listens_at_does_not_answer() {
        let port = crate::infra::ports::Port::take().unwrap();
        let address = port.address();
        drop(port);
        let used: Used = format!("{}={address}", Component::Redis.name())
            .parse()
            .unwrap();
        assert!(matches!(of_used(&used).health, Health::Silent(_)));
    }
}
