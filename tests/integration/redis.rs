//! Redis beside the client that is tested: what it holds, and how it loses that.

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Duration, timeout},
};

use crate::network::authority;

const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Forgets everything, whoever's it is.
pub(crate) async fn flush(url: &str) -> anyhow::Result<()> {
    let said = ask(url, &["FLUSHALL"]).await?;
    ensure!(said == "+OK", "FLUSHALL: {said}");
    Ok(())
}

/// How many keys match a pattern.
pub(crate) async fn count(url: &str, pattern: &str) -> anyhow::Result<u64> {
    let said = ask(
        url,
        &["EVAL", "return #redis.call('KEYS', ARGV[1])", "0", pattern],
    )
    .await?;
    let number = said.strip_prefix(':').and_then(|it| it.parse().ok());
    number.with_context(|| format!("KEYS {pattern}: {said}"))
}

/// The first line of the answer to a command.
async fn ask(url: &str, words: &[&str]) -> anyhow::Result<String> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    let answered = timeout(ANSWERS_WITHIN, async {
        let mut stream = TcpStream::connect(authority(url)?).await?;
        stream.write_all(request.as_bytes()).await?;
        let line = BufReader::new(stream).lines().next_line().await?;
        line.context("no answer")
    });
    answered
        .await
        .with_context(|| format!("redis is silent for {ANSWERS_WITHIN:?}"))?
}
