//! What handlers reject goes to the dead letters.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{BusRecord, DeadLetter, PublishError, dead_letter_topic};

/// Puts away what a group rejects of a topic.
pub(super) struct Burying<'a> {
    pub(super) topic: &'a str,
    pub(super) group: &'a str,
    /// When to try again.
    pub(super) retry: ExponentialBuilder,
    pub(super) stop: &'a CancellationToken,
}

impl Burying<'_> {
    /// Returns when the record is among the dead letters. False: told to stop before.
    pub(super) async fn bury<F>(
        &self,
        record: BusRecord,
        reason: String,
        publish: impl Fn(String, Vec<(Bytes, Bytes)>) -> F,
    ) -> bool
    where
        F: Future<Output = Result<(), PublishError>>,
    {
        let (topic, group) = (self.topic, self.group);
        let BusRecord {
            key,
            payload,
            position,
        } = record;
        tracing::warn!(topic, group, position, reason, "a record was rejected");
        let mut letter = DeadLetter {
            group: group.to_owned(),
            position,
            reason,
            payload,
        };
        let mut pauses = self.retry.build();
        loop {
            let records = vec![(key.clone(), letter.encode())];
            match publish(dead_letter_topic(topic), records).await {
                Ok(()) => return true,
                // Only what did not come by this bus, or a view, can be as large: it is still where it was.
                Err(PublishError::TooLarge { .. }) if !letter.payload.is_empty() => {
                    letter.reason = format!("{} (payload left out, too large)", letter.reason);
                    letter.payload = Bytes::new();
                }
                Err(error) => {
                    tracing::warn!(topic, group, %error, "a rejected record cannot be put away");
                    let pause = pauses.next().unwrap_or(Duration::from_secs(1));
                    let pause = tokio::time::sleep(pause);
                    if self.stop.run_until_cancelled(pause).await.is_none() {
                        return false;
                    }
                }
            }
        }
    }
}
