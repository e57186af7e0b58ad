//! The WebSocket transport from outside: over sockets, with its own client and with hand-written bytes.
#![expect(clippy::expect_used, reason = "tests")]

use std::time::Duration;

use bytes::Bytes;
use flare_core::{
    codec::{Codec, Payload},
    transport::{
        Incoming, Transport, TransportError, TransportExt, Turn, close_code, close_reason,
        websocket::{
            AcceptError, AcceptOptions, Accepted, ClientStream, ConnectError, ConnectOptions,
            OriginRule, Trust, WebSocket, accept, connect,
        },
    },
};
use flare_proto::client::CloseReason;
use futures::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const MAX_FRAME: usize = 256 * 1024;
const SOON: Duration = Duration::from_secs(10);

fn options() -> AcceptOptions {
    AcceptOptions {
        max_frame_bytes: MAX_FRAME,
        origins: OriginRule::Listed(vec!["http://localhost:*".to_owned()]),
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    (listener, format!("ws://{address}/ws"))
}

fn to(url: &str, codec: Codec) -> ConnectOptions {
    ConnectOptions {
        url: url.to_owned(),
        trust: Trust::default(),
        codec,
        origin: None,
        max_frame_bytes: MAX_FRAME,
    }
}

async fn accept_one(listener: &TcpListener) -> Result<Accepted<TcpStream>, AcceptError> {
    let (stream, _) = listener.accept().await.expect("accepts");
    accept(stream, &options()).await
}

async fn pair(codec: Codec) -> (WebSocket<TcpStream>, WebSocket<ClientStream>) {
    let (listener, url) = listen().await;
    let options = to(&url, codec);
    let (accepted, connected) = tokio::join!(accept_one(&listener), connect(&options));
    let accepted = accepted.expect("accepted");
    assert_eq!(accepted.codec, codec);
    (accepted.socket, connected.expect("connected"))
}

fn payload(codec: Codec, text: &str) -> Payload {
    Payload {
        bytes: Bytes::from(text.to_owned()),
        text: codec.is_text(),
    }
}

async fn frame(socket: &mut impl Transport) -> Bytes {
    match timeout(SOON, socket.recv()).await.expect("in time") {
        Some(Ok(Incoming::Frame(bytes))) => bytes,
        other => panic!("{other:?}"),
    }
}

/// Sends a request byte by byte as written, and gives the whole answer.
async fn raw(request: &str) -> (Result<Accepted<TcpStream>, AcceptError>, String) {
    let (listener, url) = listen().await;
    let address = url
        .trim_start_matches("ws://")
        .trim_end_matches("/ws")
        .to_owned();
    let client = async {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut answer = String::new();
        // A connection that was accepted stays open: its answer ends with the head.
        while !answer.contains("101") || !answer.ends_with("\r\n\r\n") {
            let mut some = [0; 512];
            match stream.read(&mut some).await {
                Ok(0) | Err(_) => break,
                Ok(read) => answer.push_str(&String::from_utf8_lossy(&some[..read])),
            }
        }
        answer
    };
    timeout(SOON, async { tokio::join!(accept_one(&listener), client) })
        .await
        .expect("in time")
}

fn request(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

#[tokio::test]
async fn frames_go_both_ways_in_order_in_both_codecs() {
    for codec in Codec::ALL {
        let (mut server, mut client) = pair(codec).await;
        for text in ["one", "two", "three"] {
            client.ready().await.expect("room");
            client.feed(payload(codec, text)).expect("fed");
        }
        client.flush().await.expect("flushed");
        for text in ["one", "two", "three"] {
            assert_eq!(frame(&mut server).await, text);
        }
        server.send(payload(codec, "answer")).await.expect("sent");
        assert_eq!(frame(&mut client).await, "answer");
    }
}

#[tokio::test]
async fn the_first_known_subprotocol_is_agreed_and_protobuf_by_default() {
    let cases = [
        ("", Codec::Proto, None),
        (
            "Sec-WebSocket-Protocol: chat, flare.v1.json\r\n",
            Codec::Json,
            Some("flare.v1.json"),
        ),
        (
            "Sec-WebSocket-Protocol: flare.v1.proto\r\n",
            Codec::Proto,
            Some("flare.v1.proto"),
        ),
    ];
    for (headers, codec, told) in cases {
        let (accepted, answer) = raw(&request("/ws?x=1", headers)).await;
        assert_eq!(accepted.expect("accepted").codec, codec);
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        // Of the sample nonce in RFC 6455.
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        let line = answer
            .lines()
            .find_map(|it| it.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(line, told);
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_fit_is_refused_over_http() {
    let good = request("/ws", "");
    let cases = [
        (request("/other", ""), 404, "/ws"),
        (
            request("/ws", "Sec-WebSocket-Protocol: chat\r\n"),
            400,
            "flare.v1.proto",
        ),
        (
            request("/ws", "Origin: http://evil.example\r\n"),
            403,
            "evil.example",
        ),
        (good.replace("GET", "POST"), 405, "method"),
        (
            "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            426,
            "WebSocket",
        ),
        (
            good.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"),
            400,
            "WebSocket",
        ),
        ("nonsense\r\n\r\n".to_owned(), 400, "WebSocket"),
        (
            format!("GET /ws HTTP/1.1\r\nX: {}", "x".repeat(9_000)),
            431,
            "8192",
        ),
    ];
    for (request, expected, told) in cases {
        let (accepted, answer) = raw(&request).await;
        let Err(AcceptError::Refused { status, .. }) = accepted else {
            panic!("taken: {request}");
        };
        assert_eq!(status, expected, "{request}");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{answer}"
        );
        assert!(
            answer.to_lowercase().contains(&told.to_lowercase()),
            "{told} in {answer}"
        );
    }
}

#[tokio::test]
async fn frames_that_come_with_the_handshake_are_not_lost() {
    let (listener, url) = listen().await;
    let address = url
        .trim_start_matches("ws://")
        .trim_end_matches("/ws")
        .to_owned();
    let mut bytes = request("/ws", "").into_bytes();
    // A binary message "hi", masked with zeros.
    bytes.extend_from_slice(&[0x82, 0x82, 0, 0, 0, 0, b'h', b'i']);
    let client = async {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(&bytes).await.expect("writes");
        stream
    };
    let (accepted, _stream) = tokio::join!(accept_one(&listener), client);
    assert_eq!(frame(&mut accepted.expect("accepted").socket).await, "hi");
}

#[tokio::test]
async fn a_page_of_a_listed_origin_connects_and_the_client_is_told_of_a_refusal() {
    let (listener, url) = listen().await;
    let good = ConnectOptions {
        origin: Some("http://localhost:8080".to_owned()),
        ..to(&url, Codec::Json)
    };
    let (accepted, connected) = tokio::join!(accept_one(&listener), connect(&good));
    assert_eq!(
        accepted.expect("accepted").origin.as_deref(),
        Some("http://localhost:8080")
    );
    connected.expect("connected");

    let bad = ConnectOptions {
        origin: Some("http://evil.example".to_owned()),
        ..to(&url, Codec::Json)
    };
    let (_, connected) = tokio::join!(accept_one(&listener), connect(&bad));
    let Err(ConnectError::Refused {
        status: 403,
        reason,
        ..
    }) = connected
    else {
        panic!("not refused");
    };
    assert!(reason.contains("evil.example"), "{reason}");
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    for url in [
        "https://localhost/ws",
        "http://localhost/ws",
        "nothing",
        "ws://",
    ] {
        let refused = connect(&to(url, Codec::Proto)).await;
        assert!(matches!(refused, Err(ConnectError::Url { .. })), "{url}");
    }
    let (listener, url) = listen().await;
    drop(listener);
    let refused = connect(&to(&url, Codec::Proto)).await;
    assert!(matches!(refused, Err(ConnectError::Io { .. })));
}

#[tokio::test]
async fn a_frame_above_the_limit_is_answered_before_the_close() {
    let (mut server, mut client) = pair(Codec::Proto).await;
    let client_side = async {
        let oversize = Payload {
            bytes: Bytes::from(vec![0; MAX_FRAME * 8]),
            text: false,
        };
        let _ = client.ready().await;
        client.feed(oversize).expect("fed");
        let mut heard = Vec::new();
        while let Some(Ok(incoming)) = client.recv().await {
            heard.push(incoming);
        }
        heard
    };
    let server_side = async {
        let error = server
            .recv()
            .await
            .expect("something")
            .expect_err("too large");
        assert!(
            matches!(error, TransportError::TooLarge { limit: MAX_FRAME, actual } if actual == MAX_FRAME * 8),
            "{error}"
        );
        server.ready().await.expect("room");
        server
            .feed(payload(Codec::Proto, "too large"))
            .expect("fed");
        server
            .close(close_code(CloseReason::ProtocolError), "a frame too large")
            .await;
    };
    let (heard, ()) = timeout(SOON, async { tokio::join!(client_side, server_side) })
        .await
        .expect("in time");
    assert_eq!(heard[0], Incoming::Frame(Bytes::from("too large")));
    let Incoming::Closed {
        code: Some(code),
        reason,
    } = &heard[1]
    else {
        panic!("{heard:?}")
    };
    assert_eq!(close_reason(*code), Some(CloseReason::ProtocolError));
    assert_eq!(reason, "a frame too large");
}

#[tokio::test]
async fn a_frame_of_the_largest_size_passes() {
    let (mut server, mut client) = pair(Codec::Proto).await;
    let largest = Payload {
        bytes: Bytes::from(vec![7; MAX_FRAME]),
        text: false,
    };
    let (sent, received) = tokio::join!(client.send(largest), frame(&mut server));
    sent.expect("sent");
    assert_eq!(received.len(), MAX_FRAME);
}

#[tokio::test]
async fn binary_in_place_of_text_is_not_the_agreed_protocol() {
    let (mut server, mut client) = pair(Codec::Json).await;
    client
        .send(payload(Codec::Proto, "{}"))
        .await
        .expect("sent");
    let error = server.recv().await.expect("something").expect_err("binary");
    assert!(
        matches!(&error, TransportError::Protocol { reason } if reason.contains("flare.v1.json")),
        "{error}"
    );
    assert!(server.recv().await.is_none());
}

#[tokio::test]
async fn a_close_tells_the_reason_however_long() {
    let (mut server, mut client) = pair(Codec::Proto).await;
    let long = "é".repeat(100);
    let close = server.close(close_code(CloseReason::Replaced), &long);
    let hear = async {
        let heard = client.recv().await;
        client.close(1_000, "").await;
        heard
    };
    let ((), heard) = tokio::join!(close, hear);
    let Some(Ok(Incoming::Closed { code, reason })) = heard else {
        panic!("{heard:?}")
    };
    assert_eq!(code.and_then(close_reason), Some(CloseReason::Replaced));
    assert_eq!(reason, "é".repeat(61));
    assert!(client.recv().await.is_none());
}

#[tokio::test]
async fn a_connection_that_breaks_is_an_error_and_then_nothing() {
    let (mut server, client) = pair(Codec::Proto).await;
    drop(client);
    let error = timeout(SOON, server.recv())
        .await
        .expect("in time")
        .expect("something");
    assert!(matches!(error, Err(TransportError::Io(_))), "{error:?}");
    assert!(server.recv().await.is_none());
}

#[tokio::test]
async fn a_slow_reader_does_not_keep_the_server_from_reading() {
    let (mut server, mut client) = pair(Codec::Proto).await;
    let big = Payload {
        bytes: Bytes::from(vec![1; 64 * 1024]),
        text: false,
    };
    // Until the sockets' buffers are full, and more is left over than a flush can write.
    let mut fed = 0;
    while server.ready().now_or_never().is_some() {
        server.feed(big.clone()).expect("fed");
        fed += 1;
        assert!(fed < 1_000, "the sockets took everything");
    }
    client
        .send(payload(Codec::Proto, "still here"))
        .await
        .expect("sent");
    let incoming = loop {
        match timeout(SOON, server.turn(true)).await.expect("in time") {
            Turn::Ready(ready) => {
                ready.expect("room");
                server.feed(big.clone()).expect("fed");
                fed += 1;
            }
            Turn::Incoming(incoming) => break incoming,
        }
    };
    let Some(Ok(incoming)) = incoming else {
        panic!("{incoming:?}")
    };
    assert_eq!(incoming, Incoming::Frame(Bytes::from("still here")));
    // Once the client reads, waiting for what comes in is enough to write the rest.
    let read_all = async {
        for _ in 0..fed {
            assert_eq!(frame(&mut client).await.len(), 64 * 1024);
        }
    };
    tokio::select! {
        () = read_all => {}
        incoming = server.recv() => panic!("{incoming:?}"),
    }
}

#[tokio::test]
async fn a_connection_goes_on_after_its_buffers_were_given_back() {
    let (mut server, mut client) = pair(Codec::Proto).await;
    for round in 0..20_usize {
        // Large ones inflate; the small ones behind them must not be lost when that is undone.
        let sizes = [MAX_FRAME, 10, 100_000, 1, 40_000, 3];
        let send = async {
            for size in sizes {
                client.ready().await.expect("room");
                let bytes = Bytes::from(vec![round as u8; size]);
                client.feed(Payload { bytes, text: false }).expect("fed");
                if size < 100 {
                    client.flush().await.expect("flushed");
                }
            }
        };
        let receive = async {
            for size in sizes {
                assert_eq!(frame(&mut server).await, vec![round as u8; size]);
            }
        };
        timeout(SOON, async { tokio::join!(send, receive) })
            .await
            .expect("in time");
        let answer = Payload {
            bytes: Bytes::from(vec![9; 50_000]),
            text: false,
        };
        let (sent, received) = tokio::join!(server.send(answer), frame(&mut client));
        sent.expect("sent");
        assert_eq!(received.len(), 50_000);
        server.shrink();
    }
}
