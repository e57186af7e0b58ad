//! One request of Kafka's protocol: which brokers are there.

use std::io::{Read, Write};

use anyhow::{Context, ensure};

/// Metadata, version 1, correlation 1, no client's name, of no topic.
const QUESTION: &[u8] = &[
    0, 0, 0, 14, // bytes that follow
    0, 3, 0, 1, 0, 0, 0, 1, 255, 255, 0, 0, 0, 0,
];
/// An answer that is longer is none.
const MOST_BYTES: usize = 1 << 20;

/// Asks for the brokers that are alive, as host:port of each.
pub(super) fn brokers(mut stream: impl Read + Write) -> anyhow::Result<Vec<String>> {
    stream.write_all(QUESTION)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).context("no answer")?;
    let length = usize::try_from(u32::from_be_bytes(length))?;
    ensure!(
        length <= MOST_BYTES,
        "no answer of Kafka: it would have {length} bytes"
    );
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    let brokers = read(&answer)?;
    ensure!(!brokers.is_empty(), "no broker is there yet");
    Ok(brokers)
}

fn read(answer: &[u8]) -> anyhow::Result<Vec<String>> {
    let mut fields = Fields(answer);
    ensure!(fields.int()? == 1, "an answer to another question");
    let count = fields.int()?;
    (0..count)
        .map(|_| {
            fields.int()?; // its number
            let host = fields.string()?;
            let port = fields.int()?;
            fields.string()?; // its rack
            Ok(format!("{host}:{port}"))
        })
        .collect()
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&mut self) -> anyhow::Result<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk().context("a short answer")?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn int(&mut self) -> anyhow::Result<i32> {
        Ok(i32::from_be_bytes(self.bytes()?))
    }

    /// One that is not there is empty.
    fn string(&mut self) -> anyhow::Result<String> {
        let length = i16::from_be_bytes(self.bytes()?);
        let length = usize::try_from(length).unwrap_or_default();
        let (bytes, rest) = self.0.split_at_checked(length).context("a short answer")?;
        self.0 = rest;
        Ok(String::from_utf8(bytes.to_vec())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(brokers: &[(&str, i32)]) -> Vec<u8> {
        let mut bytes = 1i32.to_be_bytes().to_vec();
        bytes.extend(i32::try_from(brokers.len()).unwrap().to_be_bytes());
        for (number, (host, port)) in (1i32..).zip(brokers) {
            bytes.extend(number.to_be_bytes());
            bytes.extend(i16::try_from(host.len()).unwrap().to_be_bytes());
            bytes.extend(host.as_bytes());
            bytes.extend(port.to_be_bytes());
            bytes.extend((-1i16).to_be_bytes());
        }
        // The controller and no topic, which nobody asks for.
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn brokers_are_read_by_their_addresses() {
        let bytes = answer(&[("127.0.0.1", 21_001), ("b", 9_092)]);
        assert_eq!(read(&bytes).unwrap(), ["127.0.0.1:21001", "b:9092"]);
        assert_eq!(read(&answer(&[])).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_cut_short_is_no_answer() {
        let bytes = answer(&[("127.0.0.1", 21_001)]);
        for length in 0..bytes.len() - 8 {
            read(&bytes[..length]).unwrap_err();
        }
        read(&[0, 0, 0, 1, 127, 255, 255, 255]).unwrap_err();
    }
}
