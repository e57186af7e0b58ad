//! How a member leaves its group so that it is heard.
//!
//! Kafka's library says goodbye when a consumer is closed, unless that has no partitions at that moment: such a member stays in its group until
//! its session ends, and the others, whose next change waits for it, wait as long, with the positions that they want to keep.
//! A subscription that is given up is said goodbye to in either case, once the change of the group that is under way is over.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

/// So long a change of the group is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// So long the library is polled before it is looked again.
const POLL: Duration = Duration::from_millis(5);

/// Gives the subscription up, and waits until it is, or for three seconds: then the consumer can be closed. It is polled; records that come are dropped.
pub(crate) fn say_goodbye<C: ConsumerContext>(consumer: &BaseConsumer<C>) {
    let by = Instant::now() + PATIENCE;
    consumer.unsubscribe();
    while consumer.subscription().is_ok_and(|it| it.count() > 0) && Instant::now() < by {
        drop(consumer.poll(POLL));
    }
}
