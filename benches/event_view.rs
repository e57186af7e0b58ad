//! What reading an event costs: the header borrowed from the bytes, against the generated type with memory of its own for each field. The ratio of
//! one run counts; both must read the same.
//!
//! `cargo bench -p flare-im --bench event_view`

use std::{
    hint::black_box,
    io::Write,
    time::{Duration, Instant},
};

use flare_proto::{
    event_view::EventView,
    message::{ConversationClass, Event, EventHeader, EventKind},
};
use prost::Message;

const EVENTS: u64 = 10_000;
const ROUNDS: u32 = 20;

fn main() -> anyhow::Result<()> {
    let events: Vec<_> = (1..=EVENTS).map(event).collect();
    let (mut borrowed, mut owned) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut sum = 0;
        for event in &events {
            let view = EventView::read(black_box(event))?;
            sum += view.seq + view.conversation_id.len() as u64 + view.body.len() as u64;
        }
        borrowed += begun.elapsed();

        let begun = Instant::now();
        let mut other = 0;
        for event in &events {
            let event = Event::decode(black_box(event.clone()))?;
            let header = event.header.unwrap_or_default();
            other += header.seq + header.conversation_id.len() as u64 + event.body.len() as u64;
        }
        owned += begun.elapsed();
        anyhow::ensure!(sum == other, "the two read different events");
    }
    let each = |took: Duration| took.as_nanos() / u128::from(EVENTS) / u128::from(ROUNDS);
    writeln!(
        std::io::stdout(),
        "borrowed {} ns, owned {} ns an event: {:.2} of it",
        each(borrowed),
        each(owned),
        borrowed.as_secs_f64() / owned.as_secs_f64()
    )?;
    Ok(())
}

/// A message of 256 bytes in a direct conversation.
fn event(seq: u64) -> bytes::Bytes {
    Event {
        header: Some(EventHeader {
            tenant_id: "default".to_owned(),
            conversation_id: "d_ppxwabx2waawdrzxpq2xjm7n6d".to_owned(),
            seq,
            ordinal: seq,
            message_id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
            sender_id: "alice".to_owned(),
            sender_device_id: "phone".to_owned(),
            time_ms: 1_700_000_000_000,
            kind: EventKind::MessageCreated.into(),
            flags: 1,
            class: ConversationClass::Direct.into(),
            participants: vec!["alice".to_owned(), "bob".to_owned()],
            client_id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
            trace_id: vec![7; 16].into(),
            ..EventHeader::default()
        }),
        body: vec![b'x'; 256].into(),
    }
    .encode_to_vec()
    .into()
}
