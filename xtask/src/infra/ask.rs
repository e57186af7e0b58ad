//! Questions to servers, each with a deadline.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context, bail};

const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// For each read and each write.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// An answer that is longer is none of ours.
const MOST_BYTES: u64 = 1 << 20;

/// A connection to host:port.
pub(super) fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let mut last = None;
    for it in address
        .to_socket_addrs()
        .with_context(|| address.to_owned())?
    {
        match TcpStream::connect_timeout(&it, CONNECT_WITHIN) {
            Ok(stream) => {
                stream.set_read_timeout(Some(ANSWER_WITHIN))?;
                stream.set_write_timeout(Some(ANSWER_WITHIN))?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    let last = last.with_context(|| format!("{address} is no address"))?;
    Err(last).with_context(|| address.to_owned())
}

/// The body of an HTTP answer of status 200, from an address that begins with `http://`.
pub(super) fn get(base: &str, path: &str) -> anyhow::Result<String> {
    let address = base.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = connect(address)?;
    // With HTTP/1.0 the answer comes whole, and ends with the connection.
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {address}\r\nUser-Agent: xtask\r\n\r\n"
    )?;
    let mut bytes = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    body(&text).with_context(|| format!("{base}{path}"))
}

fn body(answer: &str) -> anyhow::Result<String> {
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split_whitespace().nth(1);
    if status != Some("200") {
        bail!(
            "status {}: {}",
            status.unwrap_or("none"),
            body.trim().chars().take(200).collect::<String>()
        );
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_an_answer_of_status_200_is_one() {
        let good = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nready";
        assert_eq!(body(good).unwrap(), "ready");
        let bad = body("HTTP/1.1 503 Service Unavailable\r\n\r\nno leader\n").unwrap_err();
        assert_eq!(bad.to_string(), "status 503: no leader");
        body("SSH-2.0-OpenSSH\r\n").unwrap_err();
    }

    #[test]
    fn what_nobody_listens_at_is_named() {
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().to_string()
        };
        let error = get(&format!("http://{address}"), "/health").unwrap_err();
        assert!(format!("{error:#}").contains(&address), "{error:#}");
    }
}
