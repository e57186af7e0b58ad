//! What a connection costs in memory: measured, because it is a promise.
#![expect(clippy::expect_used, reason = "tests")]
#![expect(unsafe_code, reason = "an allocator that counts is unsafe to declare")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::{Read, Write},
    net::{SocketAddr, TcpStream as Plain},
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use flare_core::{
    codec::Payload,
    transport::{
        Incoming, TransportExt,
        websocket::{AcceptOptions, OriginRule, WebSocket, accept},
    },
};
use futures::FutureExt;
use tokio::net::{TcpListener, TcpStream};

/// The promise of an idle plaintext connection; what the gateway adds must fit in it too.
/// What the transport may take of it.
const MAX_TRANSPORT_BYTES: usize = 6 * 1024;
const CONNECTIONS: usize = 100;
const LARGE: usize = 60_000;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; the count is beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's obligations are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A client without a heap: a plain socket and hand-written bytes.
fn connect(address: SocketAddr) -> Plain {
    let mut client = Plain::connect(address).expect("connects");
    client
        .write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .expect("writes");
    client
}

async fn exchange_large(server: &mut WebSocket<TcpStream>, client: &mut Plain) {
    let mut frame = vec![0x82, 0x80 | 126];
    frame.extend_from_slice(&(LARGE as u16).to_be_bytes());
    frame.resize(frame.len() + 4 + LARGE, 0);
    client.write_all(&frame).expect("writes");
    drop(frame);
    match server.recv().await {
        Some(Ok(Incoming::Frame(bytes))) => assert_eq!(bytes.len(), LARGE),
        other => panic!("{other:?}"),
    }
    let answer = Payload {
        bytes: Bytes::from(vec![1; LARGE]),
        text: false,
    };
    server.send(answer).await.expect("sent");
}

#[tokio::test]
async fn an_idle_connection_is_small_also_after_large_frames() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let options = AcceptOptions {
        max_frame_bytes: 128 * 1024,
        origins: OriginRule::Any,
    };
    let mut servers = Vec::with_capacity(CONNECTIONS);
    let mut clients = Vec::with_capacity(CONNECTIONS);
    let before = LIVE.load(Ordering::Relaxed);
    for _ in 0..CONNECTIONS {
        clients.push(connect(address));
        let (stream, _) = listener.accept().await.expect("accepts");
        servers.push(accept(stream, &options).await.expect("accepted").socket);
    }
    let each =
        |live: usize| live.saturating_sub(before) / CONNECTIONS + size_of::<WebSocket<TcpStream>>();
    let idle = each(LIVE.load(Ordering::Relaxed));
    assert!(idle < MAX_TRANSPORT_BYTES, "{idle} bytes");

    for (server, client) in servers.iter_mut().zip(&mut clients) {
        let mut switching = [0; 129];
        client.read_exact(&mut switching).expect("reads");
        exchange_large(server, client).await;
        let mut answer = vec![0; LARGE];
        client.read_exact(&mut answer).expect("reads");
        // Nothing more comes, which is when it gives back what it took.
        assert!(server.recv().now_or_never().is_none());
    }
    let after = each(LIVE.load(Ordering::Relaxed));
    assert!(
        after < MAX_TRANSPORT_BYTES,
        "{after} bytes after large frames, {idle} before"
    );

    // It goes on as before.
    for (server, client) in servers.iter_mut().zip(&mut clients) {
        exchange_large(server, client).await;
    }
}
