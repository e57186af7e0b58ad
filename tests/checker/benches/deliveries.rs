//! How long a verdict takes: 10 conversations of 10,000 messages, each read by 10 devices, one million deliveries in all.
//! Records are made beforehand; only the checker is timed.

use std::io::Write;
use std::time::Instant;

use flare_checker::{
    Acked, Checker, Client, ClientEvent, Delivered, Intent, Kind, MemberChange, Record,
    ServerEvent, Target, Via,
};

const CONVERSATIONS: u64 = 10;
const MESSAGES: u64 = 10_000;
const READERS: u64 = 10;

fn main() -> std::io::Result<()> {
    let (records, store) = histories();
    let deliveries = records
        .iter()
        .filter(|record| matches!(record.event, ClientEvent::Delivered(_)))
        .count();
    let begin = Instant::now();
    let mut checker = Checker::new();
    checker.declare_all_senders_recorded();
    store
        .iter()
        .for_each(|event| checker.add_server_event(event));
    records.iter().for_each(|record| checker.add(record));
    let verdict = checker.verdict();
    let took = begin.elapsed();
    writeln!(
        std::io::stdout(),
        "{deliveries} deliveries, {} stored events: {took:?}\n{verdict}",
        store.len()
    )
}

fn histories() -> (Vec<Record>, Vec<ServerEvent>) {
    let mut records = Vec::new();
    let mut store = Vec::new();
    let mut tell = |client: &Client, event| {
        let index = 1 + records.len() as u64;
        records.push(Record {
            client: client.clone(),
            index,
            time_ms: 0,
            event,
        });
    };
    let reader = |n: u64| Client::new("default", format!("user{n}"), "phone");
    let sender = Client::new("default", "user0", "pad");
    for c in 0..CONVERSATIONS {
        let conversation = format!("conversation-{c}");
        let id = |kind: &str, seq: u64| format!("01J{kind}{c:08}{seq:014}");
        for seq in 1..=MESSAGES {
            let joined = (0..READERS).map(|n| MemberChange::Joined {
                user: format!("user{n}"),
                history_from: None,
            });
            store.push(ServerEvent {
                tenant: "default".into(),
                conversation: conversation.clone(),
                seq,
                ordinal: seq,
                message_id: id("M", seq),
                sender: "user0".into(),
                client_id: id("C", seq),
                body_hash: Some(format!("{:032x}", seq * 7919)),
                time_ms: seq as i64,
                kind: Kind::Message,
                member_changes: if seq == 1 {
                    joined.collect()
                } else {
                    Vec::new()
                },
                participants: Vec::new(),
                recalled_seq: None,
            });
        }
        let events = &store[store.len() - MESSAGES as usize..];
        for event in events {
            tell(
                &sender,
                ClientEvent::Intent(Intent {
                    client_id: event.client_id.clone(),
                    target: Target::Conversation(conversation.clone()),
                    sender: "user0".into(),
                    body_hash: event.body_hash.clone().unwrap_or_default(),
                    kind: Kind::Message,
                }),
            );
            tell(
                &sender,
                ClientEvent::Acked(Acked {
                    client_id: event.client_id.clone(),
                    conversation: conversation.clone(),
                    seq: event.seq,
                    message_id: event.message_id.clone(),
                    duplicate: false,
                    body_hash: None,
                }),
            );
        }
        for n in 0..READERS {
            for event in events {
                let body = event.body_hash.clone().unwrap_or_default();
                let mut delivered = Delivered::message(
                    &*conversation,
                    event.seq,
                    &*event.message_id,
                    "user0",
                    body,
                    Via::Deliver,
                );
                delivered.client_id = Some(event.client_id.clone());
                tell(&reader(n), ClientEvent::Delivered(delivered));
            }
            tell(
                &reader(n),
                ClientEvent::End {
                    conversation: conversation.clone(),
                    read_to: MESSAGES,
                },
            );
        }
    }
    (records, store)
}
