//! Adapters of the ports.

use std::time::Duration;

use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use tonic::{Response, Status};

pub mod bus_following;
pub mod bus_stream_progress;
pub mod cached_rosters;
mod change_codec;
pub mod grpc_orchestrator;
pub mod grpc_signal_sink;
pub mod grpc_storage_reader;
mod inbox_columns;
mod kept_lists;
#[cfg(feature = "cluster")]
pub mod postgres;
#[cfg(feature = "cluster")]
pub mod postgres_conversations;
#[cfg(feature = "cluster")]
pub mod postgres_inbox;
#[cfg(feature = "cluster")]
pub mod postgres_kept_rosters;
#[cfg(feature = "cluster")]
pub mod postgres_positions;
#[cfg(feature = "cluster")]
pub mod postgres_rosters;
#[cfg(feature = "cluster")]
mod postgres_settlement;
#[cfg(feature = "cluster")]
mod postgres_stream;
mod row_codec;
pub mod sqlite;
pub mod sqlite_conversations;
pub mod sqlite_inbox;
pub mod sqlite_positions;
pub mod sqlite_rosters;
mod sqlite_settlement;
mod sqlite_stream;

#[doc(hidden)]
pub use change_codec::judge_row as judge_change_row;

/// An answer that takes longer does not come.
const DEADLINE: Duration = Duration::from_secs(5);
/// When to ask again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Gives a call up that its service does not answer.
async fn within_deadline<T>(
    service: &str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Refusal::new(
            ErrorCode::DeadlineExceeded,
            format!("{service} did not answer within {DEADLINE:?}"),
        )
        .with_retry_after(RETRY_AFTER)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_not_answered_is_given_up() {
        let call = std::future::pending::<Result<Response<()>, Status>>();
        let refusal = within_deadline("a service", call)
            .await
            .expect_err("no answer");
        assert_eq!(refusal.code, ErrorCode::DeadlineExceeded);
        assert!(refusal.retry_after.is_some());
    }
}
