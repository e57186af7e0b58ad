use super::*;
use bytes::Bytes;

fn connection(max_bytes: usize) -> Arc<Connection> {
    let identity = Identity {
        tenant: "default".into(),
        user: "alice".into(),
        device: "phone".into(),
    };
    let registration = Registration {
        identity: Arc::new(identity),
        platform: "test".into(),
        connection_id: 1,
        connected_ms: 0,
        token_issued_s: 1,
        again: false,
    };
    Connection::new(&registration, 2, Codec::Proto, max_bytes)
}

fn payload(bytes: usize) -> Payload {
    Payload {
        bytes: Bytes::from(vec![0; bytes]),
        text: false,
    }
}

#[tokio::test]
async fn a_reply_waits_for_room_instead_of_closing_the_connection() {
    let connection = connection(100);
    assert!(connection.push(Outbound::Answer(payload(80)), 0));
    let reply = connection.reply(payload(90), || 0);
    tokio::pin!(reply);
    assert!(futures::poll!(&mut reply).is_pending());
    assert!(connection.pop(100).is_some());
    reply.await;
    assert!(connection.news().close.is_none());
    assert_eq!(connection.pop(100).map(|it| it.bytes.len()), Some(90));
}

#[tokio::test]
async fn a_reply_does_not_outlive_its_connection() {
    let connection = connection(100);
    assert!(connection.push(Outbound::Answer(payload(80)), 0));
    let reply = connection.reply(payload(90), || 0);
    tokio::pin!(reply);
    assert!(futures::poll!(&mut reply).is_pending());
    connection.end();
    reply.await;
    assert!(!connection.push(Outbound::Answer(payload(1)), 0));
}

#[test]
fn the_first_reason_to_close_stands() {
    let connection = connection(100);
    assert!(connection.close(Close::new(CloseReason::Kicked, "out")));
    assert!(!connection.close(Close::new(CloseReason::Idle, "silent")));
    assert_eq!(
        connection.news().close.map(|it| it.reason),
        Some(CloseReason::Kicked)
    );
}

#[test]
fn a_second_overflow_closes_a_slow_reader() {
    let connection = connection(100);
    for size in [60, 60] {
        assert!(connection.push(Outbound::Transient(payload(size)), 0));
    }
    assert!(connection.news().close.is_none());
    for size in [90, 60] {
        assert!(connection.push(Outbound::Transient(payload(size)), 1_000));
    }
    assert_eq!(
        connection.news().close.map(|it| it.reason),
        Some(CloseReason::SlowReader)
    );
}
