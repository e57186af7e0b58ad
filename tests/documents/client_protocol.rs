//! doc/client-protocol.md.

use std::{collections::HashMap, process::Stdio, time::Duration};

use anyhow::{Context, bail, ensure};
use flare_core::{
    codec::{Codec, Payload},
    transport::{
        Incoming, TransportExt, close_code,
        websocket::{self, ClientStream, ConnectOptions, Trust, WebSocket},
    },
};
use flare_proto::{client::CloseReason, descriptor_pool, is_client_callable};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{
    answers, markdown,
    server::Server,
    transcript::{self, Line, Step},
};

const DOCUMENT: &str = "doc/client-protocol.md";
/// What does not come by then does not come.
const SOON: Duration = Duration::from_secs(20);
const MAX_FRAME_BYTES: usize = 1 << 20;

/// Replays the transcript over WebSocket connections, close codes included.
pub(crate) fn by_socket() -> anyhow::Result<()> {
    replay(Client::Socket)
}

/// Replays it with websocat, which does not tell close codes.
pub(crate) fn by_websocat() -> anyhow::Result<()> {
    replay(Client::Websocat)
}

#[derive(Clone, Copy)]
enum Client {
    Socket,
    Websocat,
}

fn replay(client: Client) -> anyhow::Result<()> {
    let blocks = markdown::blocks(DOCUMENT)?;
    let mut lines = Vec::new();
    for block in blocks.iter().filter(|it| it.tag == "json transcript") {
        lines.extend(transcript::lines(&block.text)?);
    }
    ensure!(
        lines.len() > 20,
        "the transcript has only {} lines",
        lines.len()
    );
    let server = Server::start()?;
    server.settle()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut links: HashMap<String, Link> = HashMap::new();
        for line in lines {
            if !links.contains_key(&line.user) {
                links.insert(
                    line.user.clone(),
                    Link::open(client, &server, &line.user).await?,
                );
            }
            let link = links.get_mut(&line.user).context("opened")?;
            let done = timeout(SOON, link.does(&line)).await;
            let came =
                done.unwrap_or_else(|_| Err(anyhow::anyhow!("nothing came within {SOON:?}")));
            if came.with_context(|| line.text.clone())? {
                links.remove(&line.user);
            }
        }
        Ok(())
    })
}

struct Link {
    token: String,
    wire: Wire,
}

enum Wire {
    Socket(Box<WebSocket<ClientStream>>),
    Websocat(Box<Websocat>),
}

struct Websocat {
    /// Killed with its value.
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

enum Heard {
    Text(String),
    Closed(Option<u16>),
}

impl Link {
    async fn open(client: Client, server: &Server, user: &str) -> anyhow::Result<Self> {
        let token = server.token(user)?;
        let wire = match client {
            Client::Socket => {
                let options = ConnectOptions {
                    url: server.url(),
                    trust: Trust::default(),
                    codec: Codec::Json,
                    origin: None,
                    max_frame_bytes: MAX_FRAME_BYTES,
                };
                Wire::Socket(Box::new(websocket::connect(&options).await?))
            }
            Client::Websocat => {
                let mut child = Command::new("websocat")
                    .args([
                        "--exit-on-eof",
                        "--protocol",
                        Codec::Json.subprotocol(),
                        &server.url(),
                    ])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .kill_on_drop(true)
                    .spawn()
                    .context("websocat")?;
                let input = child.stdin.take().context("no stdin")?;
                let output = BufReader::new(child.stdout.take().context("no stdout")?).lines();
                Wire::Websocat(Box::new(Websocat {
                    _child: child,
                    input,
                    output,
                }))
            }
        };
        Ok(Self { token, wire })
    }

    /// Whether the connection has ended with it.
    async fn does(&mut self, line: &Line) -> anyhow::Result<bool> {
        match &line.step {
            Step::Sends(text) => {
                self.send(text.replace("${token}", &self.token)).await?;
                Ok(false)
            }
            Step::Comes(shown) => match self.hears().await? {
                Heard::Text(came) => {
                    let (shown, value) =
                        (serde_json::from_str(shown)?, serde_json::from_str(&came)?);
                    answers::difference(&shown, &value)
                        .map_or(Ok(false), |difference| bail!("{difference}\ncame {came}"))
                }
                Heard::Closed(code) => bail!("the connection was closed with {code:?}"),
            },
            Step::Closes(code) => match self.hears().await? {
                Heard::Text(came) => bail!("came {came}"),
                Heard::Closed(came) => {
                    ensure!(came.is_none_or(|it| it == *code), "closed with {came:?}");
                    Ok(true)
                }
            },
        }
    }

    async fn send(&mut self, text: String) -> anyhow::Result<()> {
        match &mut self.wire {
            Wire::Socket(socket) => {
                socket
                    .send(Payload {
                        bytes: text.into(),
                        text: true,
                    })
                    .await?
            }
            Wire::Websocat(websocat) => {
                let input = &mut websocat.input;
                input.write_all(format!("{text}\n").as_bytes()).await?;
                input.flush().await?;
            }
        }
        Ok(())
    }

    async fn hears(&mut self) -> anyhow::Result<Heard> {
        loop {
            match &mut self.wire {
                Wire::Websocat(websocat) => {
                    return Ok(websocat
                        .output
                        .next_line()
                        .await?
                        .map_or(Heard::Closed(None), Heard::Text));
                }
                Wire::Socket(socket) => match socket.recv().await {
                    Some(Ok(Incoming::Frame(bytes))) => {
                        return Ok(Heard::Text(String::from_utf8(bytes.to_vec())?));
                    }
                    Some(Ok(Incoming::Alive)) => {}
                    Some(Ok(Incoming::Closed { code, .. })) => {
                        return Ok(Heard::Closed(Some(code.context("closed without a code")?)));
                    }
                    Some(Err(error)) => return Err(error.into()),
                    None => bail!("the connection ended without a close"),
                },
            }
        }
    }
}

/// Each frame has a heading, and below it every field in JSON's spelling.
pub(crate) fn every_frame_has_its_fields() -> anyhow::Result<()> {
    let text = markdown::read(DOCUMENT)?;
    for (side, heading) in [
        ("flare.client.v1.ClientFrame", "\n## What a client sends\n"),
        ("flare.client.v1.ServerFrame", "\n## What a client hears\n"),
    ] {
        let (_, text) = text
            .split_once(heading)
            .with_context(|| format!("no heading {heading:?}"))?;
        let frames = descriptor_pool().get_message_by_name(side).context(side)?;
        for frame in frames.fields() {
            let kind = frame.kind();
            let message = kind.as_message().context("a frame is a message")?;
            let heading = format!("\n### `{}`", frame.json_name());
            let (_, section) = text
                .split_once(&heading)
                .with_context(|| format!("no heading {heading:?}"))?;
            let section = section.split("\n##").next().unwrap_or_default();
            for field in message.fields() {
                let name = field.json_name();
                ensure!(
                    section.contains(&format!("`{name}`")),
                    "{}: {name} is missing",
                    frame.json_name()
                );
            }
        }
    }
    Ok(())
}

/// The list of methods is that of the contract.
pub(crate) fn every_open_method_is_listed() -> anyhow::Result<()> {
    let listed: Vec<String> = markdown::rows(DOCUMENT)?
        .into_iter()
        .filter_map(|row| row.into_iter().next())
        .collect();
    let mut open = 0;
    for service in descriptor_pool().services() {
        for method in service.methods() {
            let name = format!("{}/{}", service.full_name(), method.name());
            let is_open = is_client_callable(&name);
            open += usize::from(is_open);
            ensure!(
                listed.contains(&name) == is_open,
                "{name}: open {is_open}, listed {}",
                !is_open
            );
        }
    }
    ensure!(open > 0, "no method is open");
    let rows = listed.iter().filter(|it| it.contains('/')).count();
    ensure!(rows == open, "{rows} methods are listed, {open} are open");
    Ok(())
}

/// Every reason stands in the table, with its close code.
pub(crate) fn every_close_reason_is_listed() -> anyhow::Result<()> {
    let rows = markdown::rows(DOCUMENT)?;
    for reason in (1..).map_while(|number| CloseReason::try_from(number).ok()) {
        let (name, code) = (reason.as_str_name(), close_code(reason).to_string());
        ensure!(
            rows.iter()
                .any(|row| row.starts_with(&[name.to_owned(), code.clone()])),
            "{name} {code} is missing"
        );
    }
    Ok(())
}
