//! The obligations of an [`EventBus`] as tests, for every adapter to run.
//!
//! An adapter gives an [`EventBusSite`] for each test: see `tests/event_bus_contract.rs`.

// tidy: long because it holds a test for each obligation of the port.

mod props;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use props::{Notes, Recorder, SparseView};

use super::{
    BatchHandler, BusRecord, DeadLetter, EventBus, Following, Handled, PublishError, RegisterError,
    SubscribeError, Subscription, dead_letter_topic,
};
use crate::message_log::contract::{Obligation, Verdict, Violation, ensure, fail};
use crate::obligations;

/// Where a bus lives. Each test gets its own, empty. Positions are kept every few milliseconds, and
/// the pauses before a retry are as short.
#[async_trait]
pub trait EventBusSite: Send + Sync {
    /// Opens the bus for the first time.
    async fn open(&self) -> Arc<dyn EventBus>;

    /// Ends the process that has the bus, at once and without a goodbye, and opens it anew.
    async fn restart(&self) -> Arc<dyn EventBus>;

    /// Cuts the power (of one machine, where there are several), so that nothing is left of what
    /// was not made durable, and opens the bus anew.
    async fn lose_power(&self) -> Arc<dyn EventBus>;
}

type Site = Box<dyn EventBusSite>;

const TOPIC: &str = "flare.test.events";
/// Time enough for a bus to do what it must not do.
const TEMPTATION: Duration = Duration::from_millis(500);
/// What has not come by then is missing. Brokers that are new make their own topics for the first group.
const PATIENCE: Duration = Duration::from_secs(10);

/// All obligations of an [`EventBus`].
pub fn event_bus_obligations() -> Vec<Obligation<dyn EventBusSite>> {
    obligations![
        durable,
        every_group_gets_every_record,
        order_per_key,
        at_least_once,
        flushed,
        kept_position,
        retry,
        reject,
        shared,
        told,
        stopped,
        ascending,
        released,
        caught_up,
        followed,
        names_are_checked,
        views,
    ]
}

async fn durable(site: Site) -> Verdict {
    let bus = site.open().await;
    publish(&*bus, 0..6).await?;
    let bus = site.lose_power().await;
    let handler = Recorder::new([]);
    let _subscription = subscribed(&*bus, handler.clone()).await?;
    let seen = tokio::time::timeout(PATIENCE, handler.seen(6))
        .await
        .unwrap_or_default();
    ensure(texts(&seen) == (0..6).map(text).collect::<Vec<_>>(), || {
        "records are lost".to_owned()
    })
}

async fn every_group_gets_every_record(site: Site) -> Verdict {
    let bus = site.open().await;
    let records: Vec<(Bytes, Bytes)> = vec![
        (Bytes::new(), Bytes::new()),
        (Bytes::from_static(b"key"), Bytes::from(vec![0; 700])),
        (
            Bytes::from_static(b"\0\xFF"),
            Bytes::from_static(b"payload\0"),
        ),
        (
            Bytes::from_static(b"key"),
            Bytes::from((0..=255).collect::<Vec<u8>>()),
        ),
    ];
    let publish_all = || async {
        for (key, payload) in &records {
            bus.publish(TOPIC, key.clone(), payload.clone())
                .await
                .map_err(violated)?;
        }
        Ok::<_, Violation>(())
    };
    publish_all().await?;
    let mut groups = Vec::new();
    for group in ["one", "two"] {
        let handler = Recorder::new([]);
        let subscription = bus
            .subscribe(TOPIC, group, handler.clone())
            .await
            .map_err(violated)?;
        groups.push((group, handler, subscription));
    }
    publish_all().await?;
    // In which order records of different keys come is not said.
    let mut expected = [records.clone(), records.clone()].concat();
    expected.sort();
    for (group, handler, _subscription) in &groups {
        let seen = handler.seen(8).await.into_iter();
        let mut seen: Vec<_> = seen.map(|record| (record.key, record.payload)).collect();
        seen.sort();
        ensure(seen == expected, || {
            format!("group {group} did not get every record as it was published")
        })?;
    }
    Ok(())
}

async fn order_per_key(site: Site) -> Verdict {
    let bus = site.open().await;
    let handler = Recorder::new([]);
    let _subscription = subscribed(&*bus, handler.clone()).await?;
    let keys = ["a", "b", "c"].map(|key| Bytes::from_static(key.as_bytes()));
    for round in 0..5 {
        let batch = (0..8).map(|index| (keys[index % 3].clone(), text(round * 8 + index as u64)));
        bus.publish_batch(TOPIC, batch.collect())
            .await
            .map_err(violated)?;
    }
    let seen = handler.seen(40).await;
    for (rest, key) in (0..).zip(&keys) {
        let of_key = seen.iter().filter(|record| record.key == key);
        let payloads: Vec<_> = of_key.map(|record| record.payload.clone()).collect();
        let expected: Vec<_> = (0..40)
            .filter(|index| index % 8 % 3 == rest)
            .map(text)
            .collect();
        ensure(payloads == expected, || {
            format!("the records of key {key:?} are not in order")
        })?;
    }
    Ok(())
}

/// A subscription of the one group.
async fn subscribed(
    bus: &dyn EventBus,
    handler: Arc<dyn BatchHandler>,
) -> Result<Subscription, Violation> {
    let subscribed = bus.subscribe(TOPIC, "group", handler).await;
    subscribed.map_err(violated)
}

async fn at_least_once(site: Site) -> Verdict {
    let bus = site.open().await;
    publish(&*bus, 0..3).await?;
    let stuck = Recorder::stuck();
    let subscription = subscribed(&*bus, stuck.clone()).await?;
    stuck.batch(0).await;
    // Time enough for a bus that would go on without an answer to do so, and to keep that.
    drop(tokio::time::timeout(TEMPTATION, until_lowest_exceeds(&*bus, 0)).await);
    let bus = site.restart().await;
    drop(subscription);
    let handler = Recorder::new([]);
    let _subscription = subscribed(&*bus, handler.clone()).await?;
    publish(&*bus, 3..4).await?;
    let seen = handler.seen_last(text(3)).await;
    ensure(
        texts(&seen).starts_with(&[text(0), text(1), text(2)]),
        || "a record whose handling was not reported does not come again".to_owned(),
    )
}

async fn flushed(site: Site) -> Verdict {
    let bus = site.open().await;
    publish(&*bus, 0..3).await?;
    let unwritten = Recorder::without_flush();
    let subscription = subscribed(&*bus, unwritten.clone()).await?;
    unwritten.seen(3).await;
    // Time enough for a bus that would go on without a flush to keep that.
    drop(tokio::time::timeout(TEMPTATION, until_lowest_exceeds(&*bus, 0)).await);
    let bus = site.restart().await;
    drop(subscription);
    // An orderly end is no flush either.
    let unwritten = Recorder::without_flush();
    let subscription = subscribed(&*bus, unwritten.clone()).await?;
    unwritten.seen(3).await;
    subscription.shutdown().await;
    let bus = site.restart().await;
    let handler = Recorder::new([]);
    let _subscription = subscribed(&*bus, handler.clone()).await?;
    publish(&*bus, 3..4).await?;
    let seen = handler.seen_last(text(3)).await;
    ensure(
        texts(&seen).starts_with(&[text(0), text(1), text(2)]),
        || "a record that was handled and not flushed does not come again".to_owned(),
    )
}

async fn kept_position(site: Site) -> Verdict {
    let bus = site.open().await;
    publish(&*bus, 0..3).await?;
    let handler = Recorder::new([]);
    let subscription = subscribed(&*bus, handler.clone()).await?;
    handler.seen(3).await;
    subscription.shutdown().await;
    let bus = site.restart().await;
    let handler = Recorder::new([]);
    let _subscription = subscribed(&*bus, handler.clone()).await?;
    publish(&*bus, 3..4).await?;
    let seen = handler.seen_last(text(3)).await;
    ensure(texts(&seen) == [text(3)], || {
        format!("{} records came again", seen.len() - 1)
    })
}

async fn retry(site: Site) -> Verdict {
    let bus = site.open().await;
    publish(&*bus, 0..3).await?;
    let handler = Recorder::new([Handled::Retry, Handled::Retry]);
    let _subscription = subscribed(&*bus, handler.clone()).await?;
    tokio::time::timeout(PATIENCE, handler.batch(2))
        .await
        .map_err(|_| Violation("a batch to be retried does not come again".to_owned()))?;
    publish(&*bus, 3..4).await?;
    handler.seen_last(text(3)).await;
    let batches = handler.batches();
    ensure(batches[0] == batches[1] && batches[1] == batches[2], || {
        "a batch to be retried did not come again as it was".to_owned()
    })?;
    let rest: Vec<_> = batches[2..].concat();
    ensure(texts(&rest) == (0..4).map(text).collect::<Vec<_>>(), || {
        "after a retry the order is lost".to_owned()
    })
}

async fn reject(site: Site) -> Verdict {
    let bus = site.open().await;
    publish(&*bus, 0..3).await?;
    let reason = "it is not for me".to_owned();
    let handler = Recorder::new([Handled::Reject {
        index: 1,
        reason: reason.clone(),
    }]);
    let _subscription = subscribed(&*bus, handler.clone()).await?;
    let letters = Recorder::new([]);
    let dead_letters = dead_letter_topic(TOPIC);
    let _letters = bus
        .subscribe(&dead_letters, "operator", letters.clone())
        .await
        .map_err(violated)?;
    let letter = tokio::time::timeout(PATIENCE, letters.seen(1))
        .await
        .map_err(|_| Violation("a rejected record is not among the dead letters".to_owned()))?
        .remove(0);
    ensure(letter.key == key(), || {
        "a dead letter has another key than its record".to_owned()
    })?;
    let letter = DeadLetter::decode(letter.payload).map_err(violated)?;
    ensure(
        letter.payload == text(1) && letter.reason == reason && letter.group == "group",
        || format!("record 1 was rejected, the dead letter says {letter:?}"),
    )?;
    let again = handler.batch(1).await;
    ensure(texts(&again) == [text(2)], || {
        format!("{} records came after the reject, not 1", again.len())
    })
}

async fn shared(site: Site) -> Verdict {
    let bus = site.open().await;
    let handlers = [Recorder::new([]), Recorder::new([])];
    let mut subscriptions = Vec::new();
    for handler in &handlers {
        subscriptions.push(subscribed(&*bus, handler.clone()).await?);
    }
    // A group beside it, to know when all have come.
    let beside = Recorder::new([]);
    let _beside = bus
        .subscribe(TOPIC, "beside", beside.clone())
        .await
        .map_err(violated)?;
    publish(&*bus, 0..20).await?;
    beside.seen(20).await;
    let count = || {
        handlers
            .iter()
            .map(|handler| handler.batches().concat().len())
            .sum::<usize>()
    };
    tokio::time::timeout(PATIENCE, async {
        while count() < 20 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .map_err(|_| Violation(format!("the group got {} of 20 records", count())))?;
    for subscription in subscriptions {
        subscription.shutdown().await;
    }
    ensure(count() == 20, || {
        format!("the group was given 20 records {} times", count())
    })
}

async fn told(site: Site) -> Verdict {
    let mut bus = site.open().await;
    let [first, second] = [Recorder::new([]), Recorder::new([])];
    // The first is given a record, misses one, and is given the next.
    for (index, handler) in (0..).zip([&first, &second, &first]) {
        let before = handler.batches().len();
        let subscription = subscribed(&*bus, handler.clone()).await?;
        publish(&*bus, index..index + 1).await?;
        handler.seen_last(text(index)).await;
        drop(subscription);
        bus = site.restart().await;
        ensure(handler.told_after().contains(&before), || {
            format!("a handler was given record {index} untold")
        })?;
    }
    Ok(())
}

async fn stopped(site: Site) -> Verdict {
    let bus = site.open().await;
    let [first, second] = [Recorder::new([]), Recorder::new([])];
    let subscription = subscribed(&*bus, first.clone()).await?;
    publish(&*bus, 0..3).await?;
    first.seen(3).await;
    subscription.shutdown().await;
    let _second = subscribed(&*bus, second.clone()).await?;
    publish(&*bus, 3..6).await?;
    let taken_over = tokio::time::timeout(PATIENCE, second.seen(3)).await;
    ensure(first.batches().concat().len() == 3, || {
        "a handler was called after its shutdown".to_owned()
    })?;
    ensure(taken_over.is_ok(), || {
        "nobody took over from a subscription that ended".to_owned()
    })
}

async fn ascending(site: Site) -> Verdict {
    let bus = site.open().await;
    let handler = Recorder::new([]);
    let _subscription = subscribed(&*bus, handler.clone()).await?;
    publish(&*bus, 0..5).await?;
    handler.seen(5).await;
    publish(&*bus, 5..9).await?;
    let positions: Vec<_> = handler
        .seen(9)
        .await
        .iter()
        .map(|record| record.position)
        .collect();
    ensure(positions.is_sorted_by(|a, b| a < b), || {
        format!("positions are {positions:?}")
    })
}

async fn released(site: Site) -> Verdict {
    let bus = site.open().await;
    let lowest = || async { bus.lowest_cursor(TOPIC).await.map_err(violated) };
    publish(&*bus, 0..3).await?;
    ensure(lowest().await?.is_none(), || {
        "there is no group, and a lowest cursor".to_owned()
    })?;
    let [quick, stuck] = [Recorder::new([]), Recorder::stuck()];
    let quick_one = bus
        .subscribe(TOPIC, "quick", quick.clone())
        .await
        .map_err(violated)?;
    let stuck_one = bus
        .subscribe(TOPIC, "stuck", stuck.clone())
        .await
        .map_err(violated)?;
    let last = quick.seen(3).await[2].position;
    let first = stuck.batch(0).await[0].position;
    let Some(cursor) = lowest().await? else {
        // It trims its own copy.
        return Ok(());
    };
    ensure(cursor <= first, || {
        format!("position {first} is in hand, {cursor} is released")
    })?;
    stuck.release();
    for subscription in [quick_one, stuck_one] {
        subscription.shutdown().await;
    }
    let follows = tokio::time::timeout(PATIENCE, until_lowest_exceeds(&*bus, last)).await;
    ensure(follows.is_ok(), || {
        format!("all groups have handled {last}, which is not released")
    })
}

async fn names_are_checked(site: Site) -> Verdict {
    let bus = site.open().await;
    let long = "a".repeat(129);
    for name in [
        "", ".", "..", "../up", "a/b", "Upper", "a b", "-a", "é", "a\0b", &long,
    ] {
        match bus.publish(name, key(), text(0)).await {
            Err(PublishError::BadName(_)) => {}
            other => return fail(format!("a publish to {name:?} gave {other:?}")),
        }
        for (topic, group) in [(name, "group"), (TOPIC, name)] {
            match bus.subscribe(topic, group, Recorder::new([])).await {
                Err(SubscribeError::BadName(_)) => {}
                Err(other) => return fail(format!("{group:?} in {topic:?} gave {other}")),
                Ok(_) => return fail(format!("{group:?} may subscribe to {topic:?}")),
            }
        }
    }
    match bus.follow("a/b", 0, Notes::new()).await {
        Err(SubscribeError::BadName(_)) => {}
        other => return fail(format!("who follows \"a/b\" gets {other:?}")),
    }
    bus.publish(&"a".repeat(124), key(), text(0))
        .await
        .map_err(violated)
}

async fn views(site: Site) -> Verdict {
    let bus = site.open().await;
    let topic = "flare.test.view";
    let view = SparseView::new();
    match bus.register_view(topic, view.clone()).await {
        Err(RegisterError::Unsupported(_)) => return Ok(()),
        outcome => outcome.map_err(violated)?,
    }
    match bus.register_view(topic, view.clone()).await {
        Err(RegisterError::Taken(_)) => {}
        other => return fail(format!("a second view of a topic gave {other:?}")),
    }
    match bus.publish(topic, key(), text(0)).await {
        Err(PublishError::View(_)) => {}
        other => return fail(format!("a publish to a view gave {other:?}")),
    }
    view.extend(3);
    let handler = Recorder::new([]);
    let _subscription = bus
        .subscribe(topic, "group", handler.clone())
        .await
        .map_err(violated)?;
    handler.seen_last(text(2)).await;
    view.extend(3);
    let seen = handler.seen_last(text(5)).await;
    ensure(texts(&seen) == (0..6).map(text).collect::<Vec<_>>(), || {
        "a view was not delivered in order".to_owned()
    })
}

fn key() -> Bytes {
    Bytes::from_static(b"key")
}

fn text(index: u64) -> Bytes {
    Bytes::from(format!("event {index}"))
}

fn texts(records: &[BusRecord]) -> Vec<Bytes> {
    records
        .iter()
        .map(|record| record.payload.clone())
        .collect()
}

fn violated(error: impl std::fmt::Display) -> Violation {
    Violation(error.to_string())
}

async fn caught_up(site: Site) -> Verdict {
    let bus = site.open().await;
    let stuck = Recorder::stuck();
    let _subscription = subscribed(&*bus, stuck.clone()).await?;
    publish(&*bus, 0..3).await?;
    stuck.batch(0).await;
    let mut waiting = pin!(bus.caught_up(TOPIC, "group"));
    ensure(futures::poll!(waiting.as_mut()).is_pending(), || {
        "a group with a batch in hand has caught up".to_owned()
    })?;
    stuck.release();
    for published in [3, 6] {
        let reached = match published {
            3 => tokio::time::timeout(PATIENCE, waiting.as_mut()).await,
            _ => tokio::time::timeout(PATIENCE, bus.caught_up(TOPIC, "group")).await,
        };
        reached
            .map_err(|_| violated("a group that handled everything has not caught up"))?
            .map_err(violated)?;
        let handled = stuck.batches().concat().len();
        ensure(handled >= published, || {
            format!("caught up with {handled} of {published} records")
        })?;
        if published == 3 {
            publish(&*bus, 3..6).await?;
        }
    }
    Ok(())
}

async fn followed(site: Site) -> Verdict {
    let bus = site.open().await;
    publish(&*bus, 0..6).await?;
    let [all, new, late] = [(); 3].map(|()| Notes::new());
    let follow = async |behind, notes: &Arc<Notes>| {
        let following = bus.follow(TOPIC, behind, notes.clone()).await;
        following.map_err(violated)
    };
    let caught_up = async |following: &Following| {
        let caught_up = tokio::time::timeout(PATIENCE, following.caught_up()).await;
        caught_up
            .map_err(|_| violated("a follower never catches up"))?
            .map_err(violated)
    };
    let all_of_it = follow(u64::MAX, &all).await?;
    let new_ones = follow(0, &new).await?;
    caught_up(&new_ones).await?;
    publish(&*bus, 6..9).await?;
    for (following, notes, expected) in [(&all_of_it, &all, 0..9), (&new_ones, &new, 6..9)] {
        caught_up(following).await?;
        let (begun, seen) = (notes.begun(), notes.seen());
        ensure(
            texts(&seen) == expected.clone().map(text).collect::<Vec<_>>(),
            || {
                format!(
                    "a follower was given {} records, not {expected:?}",
                    seen.len()
                )
            },
        )?;
        let [begun] = &begun[..] else {
            return fail(format!("a follower has begun {} times", begun.len()));
        };
        let mut frontier = begun.clone();
        for record in &seen {
            ensure(!frontier.is_beyond(record.position), || {
                "a follower was given what lies before him".to_owned()
            })?;
            frontier.advance(record.position);
        }
    }
    ensure(
        bus.lowest_cursor(TOPIC).await.map_err(violated)?.is_none(),
        || "a follower holds records back".to_owned(),
    )?;
    let latest = follow(4, &late).await?;
    caught_up(&latest).await?;
    let seen = texts(&late.seen());
    let expected: Vec<_> = (0..9).map(text).collect();
    ensure(seen.len() <= 4 && expected.ends_with(&seen), || {
        format!("the latest 4 of 9 records are {seen:?}")
    })?;
    new_ones.shutdown().await;
    publish(&*bus, 9..10).await?;
    caught_up(&all_of_it).await?;
    ensure(new.seen().len() == 3, || {
        "a follower was called after his shutdown".to_owned()
    })
}

/// Publishes one by one.
async fn publish(bus: &dyn EventBus, range: std::ops::Range<u64>) -> Verdict {
    for index in range {
        bus.publish(TOPIC, key(), text(index))
            .await
            .map_err(violated)?;
    }
    Ok(())
}

async fn until_lowest_exceeds(bus: &dyn EventBus, position: u64) {
    while !bus
        .lowest_cursor(TOPIC)
        .await
        .is_ok_and(|lowest| lowest.is_none_or(|lowest| lowest > position))
    {
        tokio::task::yield_now().await;
    }
}
