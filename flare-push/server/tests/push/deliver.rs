//! Events to devices.

use std::sync::Arc;

use bytes::Bytes;
use flare_push_server::domain::event::{Event, MemberChange};

use crate::outside::{Outside, deliver, event};

#[tokio::test]
async fn every_device_but_the_origin_gets_it_each_gateway_once() {
    let outside = Arc::new(Outside::default());
    outside.connect("alice", 0, 1, "phone");
    outside.connect("alice", 1, 2, "desk");
    outside.connect("bob", 0, 3, "phone");
    outside.connect("bob", 0, 4, "desk");
    outside.connect("carol", 0, 5, "phone");
    let events = [
        event(1, &["alice", "bob"], MemberChange::None),
        event(2, &["alice", "bob"], MemberChange::None),
    ];
    deliver(&outside).batch(&events).await.unwrap();
    let to = |gateway: &str, event: &'static str, ids: &[u64]| {
        (
            gateway.to_owned(),
            Bytes::from_static(event.as_bytes()),
            ids.to_vec(),
        )
    };
    assert_eq!(
        outside.sent(),
        [
            to("g0", "e1", &[3, 4]),
            to("g0", "e2", &[3, 4]),
            to("g1", "e1", &[2]),
            to("g1", "e2", &[2])
        ]
    );
    assert_eq!(
        outside.lookups.lock().unwrap().len(),
        1,
        "presence is asked once a batch"
    );
}

#[tokio::test]
async fn an_event_that_came_over_no_link_goes_to_all_devices_of_its_sender() {
    let outside = Arc::new(Outside::default());
    outside.connect("alice", 0, 1, "phone");
    let by_api = Event {
        sender_device: String::new(),
        ..event(1, &["alice", "bob"], MemberChange::None)
    };
    deliver(&outside).batch(&[by_api]).await.unwrap();
    assert_eq!(outside.sent().len(), 1);
}

#[tokio::test]
async fn nothing_is_delivered_when_nobody_can_say_who_is_online() {
    let outside = Arc::new(Outside::default());
    outside.connect("bob", 0, 1, "desk");
    *outside.fails.lock().unwrap() = true;
    let events = [event(1, &["alice", "bob"], MemberChange::None)];
    assert!(
        deliver(&outside).batch(&events).await.is_err(),
        "the batch comes again"
    );
    assert!(outside.sent().is_empty());
}
