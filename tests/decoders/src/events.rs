//! Events as the log and the store hold them and as connections get them.

use std::sync::Arc;

use bytes::Bytes;
use flare_core::{
    codec::{Codec, ServerFrame, decode_server},
    deliver::{DeliverBuilder, EncodedEvent},
};
use flare_proto::{event_view::EventView, message::Event};
use flare_storage_model::{Fingerprint, LoggedEvent, decode_header};
use prost::Message;

use crate::corpus;

/// Judges an event's bytes: all readers agree on them, and every connection gets them.
pub fn events(bytes: &[u8]) {
    let given = Bytes::copy_from_slice(bytes);
    let event = Event::decode(bytes);
    let view = EventView::read(bytes);
    assert_eq!(event.is_ok(), view.is_ok(), "{event:?} and {view:?}");
    let header = event.as_ref().ok().and_then(|it| it.header.as_ref());
    assert_eq!(decode_header(given.clone()).ok().as_ref(), header);
    if let (Ok(event), Ok(view)) = (&event, &view) {
        assert_eq!(view.has_header, header.is_some());
        assert_eq!(view.body, &event.body[..]);
        let header = header.cloned().unwrap_or_default();
        assert_eq!(view.seq, header.seq);
        assert_eq!(view.conversation_id, header.conversation_id);
        assert_eq!(view.participants, header.participants);
        assert_eq!(view.mentions, header.mentions);
    }
    let delivered = EncodedEvent::new(bytes);
    assert_eq!(delivered.is_ok(), header.is_some());
    if let Ok(delivered) = delivered {
        deliver(&given, &delivered);
    }
    if let Ok(logged) = LoggedEvent::parse(given.clone(), Fingerprint([7; 16])) {
        assert_eq!(Some(logged.header()), header);
        assert_eq!(logged.event(), &given);
        assert_eq!(logged.id_key().map(|it| it.digest()), logged.id_digest());
    }
}

fn deliver(given: &Bytes, event: &Arc<EncodedEvent>) {
    assert_eq!(&event.event(), given);
    let one = frame_of(Codec::Proto, event.frame(Codec::Proto).bytes);
    assert_eq!(one, std::slice::from_ref(given));
    let shown = frame_of(Codec::Json, event.frame(Codec::Json).bytes);
    assert_eq!(shown.len(), 1);
    for codec in Codec::ALL {
        let mut builder = DeliverBuilder::new(codec);
        builder.push(Arc::clone(event));
        builder.push(Arc::clone(event));
        let bound = builder.len_bound();
        let payload = builder.finish().expect("two events");
        assert!(payload.bytes.len() <= bound);
        let events = frame_of(codec, payload.bytes);
        let expected = match codec {
            Codec::Proto => given,
            Codec::Json => &shown[0],
        };
        assert_eq!(events, [expected.clone(), expected.clone()]);
    }
}

fn frame_of(codec: Codec, bytes: Bytes) -> Vec<Bytes> {
    match decode_server(codec, bytes, usize::MAX) {
        Ok(ServerFrame::Deliver(deliver)) => deliver.events,
        other => panic!("not a frame that delivers: {other:?}"),
    }
}

/// A message, one of an unknown kind, one whose body is none, a bare header.
pub fn corpus() -> Vec<Vec<u8>> {
    let unreadable = Event {
        header: Some(corpus::header(3)),
        body: Bytes::from_static(&[0xff]),
    };
    let bare = Event {
        header: Some(corpus::header(4)),
        body: Bytes::new(),
    };
    vec![
        corpus::event(1, corpus::text("hello")).encode_to_vec(),
        corpus::event(2, Bytes::from_static(&[0x72, 0x01, 0x78])).encode_to_vec(),
        unreadable.encode_to_vec(),
        bare.encode_to_vec(),
    ]
}
