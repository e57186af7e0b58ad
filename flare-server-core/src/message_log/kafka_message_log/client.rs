//! What all of the log's clients of Kafka have in common.

use rdkafka::{ClientContext, consumer::ConsumerContext, error::KafkaError};

/// Counts and tells what a client complains of.
pub(super) struct Watched {
    /// `producer` or `reader`.
    pub(super) client: &'static str,
}

impl ClientContext for Watched {
    fn error(&self, error: KafkaError, reason: &str) {
        complained(self.client, &error, reason);
    }
}

impl ConsumerContext for Watched {}

/// librdkafka goes on by itself: a broker that is away comes back.
pub(super) fn complained(client: &'static str, error: &KafkaError, reason: &str) {
    metrics::counter!("flare_message_log_client_errors_total", "client" => client).increment(1);
    tracing::warn!(client, %error, reason, "a client of Kafka complains");
}
