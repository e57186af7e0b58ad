//! What an idle connection costs in memory, all of the gateway included: measured, because it is a promise.
#![expect(clippy::expect_used, reason = "tests")]
#![expect(unsafe_code, reason = "an allocator that counts is unsafe to declare")]

#[path = "gateway/harness.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod harness;
#[path = "gateway/online.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod online;
#[path = "gateway/router.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod router;
#[path = "gateway/services.rs"]
mod services;
#[path = "gateway/wire.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod wire;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use flare_core::codec::{ClientFrame, Codec, encode_client};
use flare_proto::client::Connect;

/// The promise.
const MAX_BYTES: usize = 10 * 1024;
const CONNECTIONS: usize = 200;

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
fn open(address: &str, number: usize) -> TcpStream {
    let mut client = TcpStream::connect(address).expect("connects");
    client
        .write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .expect("writes");
    let device = format!("device-{number}");
    let connect = Connect {
        id: 1,
        token: harness::token("alice", "*"),
        device_id: device,
        ..Connect::default()
    };
    let payload = encode_client(Codec::Proto, &ClientFrame::Connect(connect))
        .expect("encodes")
        .bytes;
    let length = u8::try_from(payload.len()).expect("short");
    let mut frame = vec![0x82, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(&payload);
    client.write_all(&frame).expect("writes");
    client
}

/// The handshake's answer and the Connected.
fn hear(client: &mut TcpStream) {
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("sets");
    let mut head = [0; 129];
    client.read_exact(&mut head).expect("reads");
    assert!(head.starts_with(b"HTTP/1.1 101"));
    let mut frame = [0; 2];
    client.read_exact(&mut frame).expect("reads");
    let length = match frame {
        [0x82, 126] => {
            let mut length = [0; 2];
            client.read_exact(&mut length).expect("reads");
            usize::from(u16::from_be_bytes(length))
        }
        [0x82, short] => usize::from(short),
        other => panic!("{other:?}"),
    };
    let mut connected = [0; 1024];
    client
        .read_exact(connected.get_mut(..length).expect("fits"))
        .expect("reads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_small() {
    let gateway = harness::Gateway::start().await;
    let address = gateway
        .url
        .trim_start_matches("ws://")
        .trim_end_matches("/ws")
        .to_owned();
    let mut clients = Vec::with_capacity(2 * CONNECTIONS);
    let many = |from: usize, clients: &mut Vec<TcpStream>| {
        for number in from..from + CONNECTIONS {
            let mut client = open(&address, number);
            hear(&mut client);
            clients.push(client);
        }
    };
    // The first ones pay for what all share.
    tokio::task::block_in_place(|| many(0, &mut clients));
    let registered = &gateway.world.online.registered;
    services::until("settled", || {
        registered.lock().expect("locks").len() == CONNECTIONS
    })
    .await;
    let before = LIVE.load(Ordering::Relaxed);
    tokio::task::block_in_place(|| many(CONNECTIONS, &mut clients));
    services::until("settled", || {
        registered.lock().expect("locks").len() == 2 * CONNECTIONS
    })
    .await;
    // What the played presence notes of each is counted too, and small.
    let each = LIVE.load(Ordering::Relaxed).saturating_sub(before) / CONNECTIONS;
    assert!(each < MAX_BYTES, "{each} bytes");
}
