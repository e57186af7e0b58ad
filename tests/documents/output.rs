//! What commands print: answers on standard output; progress and colours for people at a terminal alone.

use std::process::{Command, Output, Stdio};

use anyhow::{Context, ensure};

use crate::server::{Server, clean, flare};

/// Begins what commands a terminal.
const ESCAPE: char = '\u{1b}';
const DIM: &str = "\u{1b}[2m";

/// One pair alone goes faster than users, conversations and connections may.
fn without_rates() -> anyhow::Result<Server> {
    Server::start_with(&[
        "--listen",
        "127.0.0.1:0",
        "--set",
        "message_orchestrator.rate.user_per_s=0",
        "--set",
        "message_orchestrator.rate.conversation_per_s=0",
        "--set",
        "access_gateway.frames_per_s=1000000",
    ])
}

/// Through pipes, as scripts have it.
pub(crate) fn nothing_but_answers_goes_to_a_pipe() -> anyhow::Result<()> {
    let mut server = without_rates()?;
    let url = server.url();
    let bench = |arguments: &[&str]| {
        let rest = ["--seconds", "1", "--json", "--url", &url];
        answer(&server, &[&["bench"], arguments, &rest].concat())
    };
    let direct: serde_json::Value = serde_json::from_str(&bench(&["direct", "--pairs", "1"])?)?;
    ensure!(direct["kept"] == true, "{direct}");
    let idle: serde_json::Value = serde_json::from_str(&bench(&["idle", "--connections", "1"])?)?;
    ensure!(idle["connections"] == 1, "{idle}");
    server.stop()?;
    let verified = answer(&server, &["verify"])?;
    ensure!(verified.contains("promises kept"), "{verified}");
    let log = std::fs::read_to_string(server.folder().join("server.log"))?;
    ensure!(!log.contains(ESCAPE), "the log has colours: {log}");
    Ok(())
}

/// The same commands at a terminal.
pub(crate) fn a_terminal_is_shown_how_far_it_is() -> anyhow::Result<()> {
    let mut server = without_rates()?;
    let bench = format!("bench direct --pairs 1 --seconds 1 --url {}", server.url());
    let shown = at_terminal(&server, &bench, &[])?;
    for phase in ["connecting pairs", "measuring", "waiting for"] {
        ensure!(shown.contains(phase), "{phase:?} is not in {shown:?}");
    }
    server.stop()?;
    let shown = at_terminal(&server, "verify", &[])?;
    for phase in ["opening", "records of the log", "conversations"] {
        ensure!(shown.contains(phase), "{phase:?} is not in {shown:?}");
    }
    Ok(())
}

/// Who does not want colours has none.
pub(crate) fn colours_are_for_terminals_without_no_color() -> anyhow::Result<()> {
    let server = Server::start()?;
    let chat = format!("chat --user alice --to bob --url {}", server.url());
    let shown = at_terminal(&server, &chat, &[])?;
    ensure!(shown.contains(DIM), "no colours: {shown:?}");
    let shown = at_terminal(&server, &chat, &[("NO_COLOR", "1")])?;
    ensure!(
        shown.contains("alice in ") && !shown.contains(DIM),
        "with NO_COLOR: {shown:?}"
    );
    Ok(())
}

/// What a command printed that went well, and printed nothing else.
fn answer(server: &Server, arguments: &[&str]) -> anyhow::Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = flare(server.folder()).args(arguments).output()?;
    let said = String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "{arguments:?}: {status}: {said}");
    ensure!(said.is_empty(), "{arguments:?} said {said:?}");
    let shown = String::from_utf8(stdout)?;
    ensure!(!shown.contains(ESCAPE), "{arguments:?} printed {shown:?}");
    Ok(shown)
}

/// All that a terminal shows of a command, which finds nothing on its standard input.
fn at_terminal(
    server: &Server,
    arguments: &str,
    variables: &[(&str, &str)],
) -> anyhow::Result<String> {
    let mut command = Command::new("script");
    let done = clean(&mut command)
        .args([
            "-qec",
            &format!("'{}' {arguments}", env!("CARGO_BIN_EXE_flare")),
        ])
        .arg("/dev/null")
        .current_dir(server.folder())
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .context("script")?;
    let shown = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(
        done.status.success(),
        "{arguments}: {}: {shown}",
        done.status
    );
    Ok(shown)
}
