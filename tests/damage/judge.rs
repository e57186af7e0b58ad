//! What became of a folder with a damaged file.

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    SETTINGS,
    api::{Api, As},
    fault::Way,
    folder::{Story, follows, is_good},
    observation::observe,
    server::{self, NotStarted, Server},
};

/// What a start that has lost its place in the stream has again within this time.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(20);

/// How a case ended.
pub(crate) enum Outcome {
    /// Everything is there, and it goes on.
    Survived,
    /// It says what is wrong, where, and what to do.
    Refused(String),
    /// Neither: what is wrong.
    Silent(String),
}

impl Outcome {
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::Silent(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Survived => write!(f, "survived"),
            Self::Refused(said) => write!(f, "refused: {said}"),
            Self::Silent(what) => write!(f, "SILENT: {what}"),
        }
    }
}

/// Starts a server on the folder, of which `file` was damaged.
pub(crate) async fn start(data: &Path, file: &Path, story: &Story, binary: &Path) -> Outcome {
    let server = match Server::start(binary, data, &SETTINGS) {
        Ok(server) => server,
        Err(NotStarted::Ended(said)) => return refused(data, file, &said),
        Err(NotStarted::Hangs(said)) => {
            return Outcome::Silent(format!("it neither starts nor ends: {said}"));
        }
    };
    match examine(server, data, story, binary).await {
        Ok(()) => Outcome::Survived,
        Err(error) => Outcome::Silent(format!("{error:#}")),
    }
}

/// The words have to name the file, or the folder that it is in beside others that are of no use without it.
fn refused(data: &Path, file: &Path, said: &str) -> Outcome {
    let last = said.lines().rev().find(|it| it.starts_with("flare: "));
    let Some(line) = last else {
        return Outcome::Silent(format!("it ended without a word of why: {said}"));
    };
    let mut places = file.ancestors().filter(|it| !it.as_os_str().is_empty());
    let is_named = places.any(|it| line.contains(&data.join(it).display().to_string()));
    if !is_named {
        return Outcome::Silent(format!("it names no place: {line}"));
    }
    if !["restore", "Restore"].iter().any(|it| line.contains(it)) {
        return Outcome::Silent(format!("it does not say what to do: {line}"));
    }
    Outcome::Refused(line.to_owned())
}

async fn examine(server: Server, data: &Path, story: &Story, binary: &Path) -> anyhow::Result<()> {
    let url = server.api();
    for token in &story.revoked_tokens {
        ensure!(
            !is_good(&url, token).await?,
            "a revoked token is good again"
        );
    }
    ensure!(
        is_good(&url, &story.good_token).await?,
        "a token is worthless"
    );
    let api = Api::new(url, &story.key)?;
    for secret in &story.revoked_keys {
        let (key, path) = (As::Key(secret), "/api/v1/conversations/team/events");
        let (status, _) = api.answer(key, Method::GET, path, None).await?;
        let is_refused = status == StatusCode::UNAUTHORIZED;
        ensure!(is_refused, "a revoked key is answered {status}");
    }
    let deadline = Instant::now() + FOLLOWED_WITHIN;
    loop {
        let state = observe(&api).await?;
        match difference("", &state, &story.state) {
            None => break,
            Some(difference) if follows(&state) || Instant::now() > deadline => bail!(difference),
            Some(_) => {}
        }
    }
    goes_on(&api, &story.state).await?;
    server.stop()?;
    let verified = server::run(binary, &["verify"], data)?;
    ensure!(verified.contains("promises kept"), "{verified}");
    Ok(())
}

/// The next message gets the next place.
async fn goes_on(api: &Api, state: &Value) -> anyhow::Result<()> {
    let sent = json!({
        "conversationId": "team", "senderId": "alice", "clientId": "after-the-damage",
        "content": {"text": {"text": "and still here"}},
    });
    let answer = api.post(As::System, "/api/v1/messages", sent).await?;
    let events = state["conversations"]["team"]["events"].as_array();
    let next = events.context("a team")?.len() + 1;
    let seq = &answer["placed"]["seq"];
    ensure!(*seq == json!(next.to_string()), "seq {seq} after {next}");
    Ok(())
}

/// The first place where the two are not the same.
fn difference(at: &str, is: &Value, ought: &Value) -> Option<String> {
    match (is, ought) {
        (Value::Object(is), Value::Object(ought)) => {
            let names = is.keys().chain(ought.keys());
            names.into_iter().find_map(|name| {
                let (is, ought) = (is.get(name), ought.get(name));
                let (is, ought) = (is.unwrap_or(&Value::Null), ought.unwrap_or(&Value::Null));
                difference(&format!("{at}/{name}"), is, ought)
            })
        }
        (Value::Array(is), Value::Array(ought)) if is.len() == ought.len() => {
            let mut pairs = is.iter().zip(ought).enumerate();
            pairs.find_map(|(index, (is, ought))| difference(&format!("{at}/{index}"), is, ought))
        }
        _ if is == ought => None,
        _ => Some(format!("{at}: is {is}, ought to be {ought}")),
    }
}

/// How many cases ended how.
#[derive(Default)]
pub(crate) struct Tally {
    survived: usize,
    refused: usize,
    silent: usize,
    /// By what was said, without what stands only in one case.
    words: BTreeMap<String, usize>,
}

impl Tally {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Survived => self.survived += 1,
            Outcome::Refused(_) => self.refused += 1,
            Outcome::Silent(what) => {
                self.silent += 1;
                let words = what.chars().take(60).collect();
                *self.words.entry(words).or_default() += 1;
            }
        }
    }

    /// Fails for whatever was silent, and if the faults did not bite: some files matter, and some do not.
    pub(crate) fn verdict(&self, way: Way) -> anyhow::Result<()> {
        ensure!(self.silent == 0, "{self}: {:?}", self.words);
        ensure!(self.survived > 0, "nothing survives: {self}");
        let bites = self.refused > 0;
        ensure!(
            bites == (way != Way::Untouched),
            "the fault is no fault: {self}"
        );
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            survived,
            refused,
            silent,
            ..
        } = self;
        write!(f, "{survived} survived, {refused} refused, {silent} silent")
    }
}
