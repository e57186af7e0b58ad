//! A question to Kafka beside the client that is tested: which of its nodes lead a topic's partitions.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, timeout},
};

/// `Metadata`, in the first version that tells which node is the controller.
const METADATA: i16 = 3;
const VERSION: i16 = 1;
const CORRELATION: i32 = 1;
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 1 << 20;

/// The leader of each partition of a topic, as the first of the brokers tells that answers. A partition without one is left out.
pub(crate) async fn leaders(brokers: &str, topic: &str) -> anyhow::Result<BTreeMap<u32, u32>> {
    let mut wrong = String::new();
    for broker in brokers.split(',') {
        match timeout(ANSWERS_WITHIN, ask(broker, topic)).await {
            Ok(Ok(leaders)) => return Ok(leaders),
            Ok(Err(error)) => wrong.push_str(&format!("\n{broker}: {error:#}")),
            Err(_) => wrong.push_str(&format!("\n{broker}: silence")),
        }
    }
    bail!("no broker tells who leads {topic}:{wrong}")
}

async fn ask(broker: &str, topic: &str) -> anyhow::Result<BTreeMap<u32, u32>> {
    let mut stream = TcpStream::connect(broker).await?;
    let mut request = BytesMut::new();
    request.put_i16(METADATA);
    request.put_i16(VERSION);
    request.put_i32(CORRELATION);
    put_string(&mut request, "integration")?;
    request.put_i32(1);
    put_string(&mut request, topic)?;
    stream.write_u32(u32::try_from(request.len())?).await?;
    stream.write_all(&request).await?;
    let length = usize::try_from(stream.read_u32().await?)?;
    ensure!(length <= MOST_BYTES, "an answer of {length} bytes");
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    let leaders = read(Bytes::from(answer), topic)?;
    ensure!(!leaders.is_empty(), "nobody leads it");
    Ok(leaders)
}

fn put_string(request: &mut BytesMut, text: &str) -> anyhow::Result<()> {
    request.put_i16(i16::try_from(text.len())?);
    request.put_slice(text.as_bytes());
    Ok(())
}

fn read(mut answer: Bytes, topic: &str) -> anyhow::Result<BTreeMap<u32, u32>> {
    ensure!(answer.try_get_i32()? == CORRELATION, "another's answer");
    for _ in 0..answer.try_get_i32()? {
        answer.try_get_i32()?; // the node's number
        string(&mut answer)?;
        answer.try_get_i32()?; // its port
        string(&mut answer)?; // its rack
    }
    answer.try_get_i32()?; // the controller
    let mut leaders = BTreeMap::new();
    for _ in 0..answer.try_get_i32()? {
        let error = answer.try_get_i16()?;
        let name = string(&mut answer)?;
        ensure!(error == 0 && name == topic, "{name}: error {error}");
        answer.try_get_u8()?; // whether it is internal
        for _ in 0..answer.try_get_i32()? {
            answer.try_get_i16()?; // its error, if it has no leader
            let (partition, leader) = (answer.try_get_i32()?, answer.try_get_i32()?);
            for _replicas_and_those_in_sync in 0..2 {
                for _ in 0..answer.try_get_i32()? {
                    answer.try_get_i32()?;
                }
            }
            // Without a leader it is -1.
            if let Ok(leader) = u32::try_from(leader) {
                leaders.insert(u32::try_from(partition)?, leader);
            }
        }
    }
    Ok(leaders)
}

/// One that is not there is empty.
fn string(answer: &mut Bytes) -> anyhow::Result<String> {
    let length = usize::try_from(answer.try_get_i16()?).unwrap_or_default();
    ensure!(answer.len() >= length, "an answer that is cut short");
    let text = answer.split_to(length);
    String::from_utf8(text.into()).context("no text")
}
