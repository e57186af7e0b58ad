//! The obligations of [`MessageStore`], one test each, for every adapter.
//!
//! An obligation looks at nothing but what it is named after, so that a store which breaks one fails that one only.

mod commits;
mod crashes;
mod endings;
mod pages;
mod reads;
mod script;

use std::{pin::Pin, sync::Arc};

use async_trait::async_trait;

pub use script::Script;

use crate::message_store::MessageStore;

/// `Err` says what the store did wrong.
pub type Outcome = Result<(), String>;

/// A store under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store as it is.
    fn store(&self) -> Arc<dyn MessageStore>;

    /// Ends the store as a killed process would, and opens it again.
    async fn crash(&self) -> Arc<dyn MessageStore>;
}

type Check = fn(Arc<dyn Subject>, Script) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One obligation: its name, and what checks it. The script is of a tenant and partition that nobody else uses.
pub struct Obligation {
    /// What is promised.
    pub name: &'static str,
    run: Check,
}

impl Obligation {
    /// Checks the obligation.
    pub async fn check(&self, subject: Arc<dyn Subject>, script: Script) -> Outcome {
        (self.run)(subject, script).await
    }
}

/// The obligation of that name.
pub fn obligation(name: &str) -> Option<&'static Obligation> {
    OBLIGATIONS.iter().find(|it| it.name == name)
}

macro_rules! obligations {
    ($($module:ident: $($name:ident),+;)+) => {
        /// All obligations.
        pub const OBLIGATIONS: &[Obligation] = &[$($(
            Obligation {
                name: stringify!($name),
                run: |subject, script| Box::pin($module::$name(subject, script)),
            },
        )+)+];

        /// Makes a test of each obligation. The argument is an expression that gives an `Arc<dyn Subject>` with a fresh store.
        #[macro_export]
        macro_rules! message_store_contract {
            ($subject:expr) => {
                $($(
                    #[tokio::test]
                    async fn $name() {
                        let script = $crate::contract::Script::new();
                        let obligation = $crate::contract::obligation(stringify!($name));
                        let outcome = match obligation {
                            Some(obligation) => obligation.check($subject, script).await,
                            None => Err("there is no such obligation".to_owned()),
                        };
                        assert_eq!(outcome, Ok(()));
                    }
                )+)+
            };
        }
    };
}
obligations! {
    commits:
        a_committed_batch_is_readable,
        the_cursor_covers_what_is_committed,
        a_refused_batch_leaves_nothing,
        a_repeated_batch_changes_nothing,
        of_a_batch_that_was_committed_in_part_the_rest_is_added,
        another_event_at_a_taken_seq_is_refused,
        a_taken_client_id_is_refused,
        an_event_that_leaves_a_hole_is_refused,
        a_batch_above_the_cursor_is_refused,
        heads_that_are_not_the_events_ones_are_refused,
        the_cursor_never_moves_back,
        the_synced_cursor_is_never_ahead,
        waiters_wait_for_their_offset,
        a_commit_that_is_given_up_can_be_repeated;
    crashes:
        what_a_crash_leaves_can_be_committed_on,
        what_is_synced_survives_a_crash;
    endings:
        a_closed_store_has_kept_everything,
        a_closed_store_takes_no_more,
        a_closed_store_still_answers,
        waiters_end_with_the_store,
        a_store_may_be_closed_again;
    reads:
        heads_come_in_the_order_of_their_keys,
        receipts_come_in_the_order_of_their_keys,
        a_range_has_no_hole,
        a_range_keeps_its_limits,
        a_range_gives_one_event_at_least,
        an_event_is_found_by_its_seq,
        large_events_come_back_whole,
        message_ids_are_located,
        the_floor_is_the_first_event,
        what_is_not_there_is_none,
        tenants_do_not_see_each_other;
    pages:
        a_page_before_a_seq_ends_below_it,
        a_page_after_a_seq_begins_above_it,
        a_page_from_a_time_begins_at_it,
        a_page_holds_messages_only,
        a_page_is_full_while_there_are_messages,
        a_recalled_message_says_by_what,
        recalled_messages_above_a_seq_are_counted,
        recalled_messages_of_a_run_are_named;
}
