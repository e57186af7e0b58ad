//! What the ports of the stores promise, for every adapter. The suites take adapters as the ports' traits: any database runs the same ones.

use std::sync::Arc;

use flare_server_core::telemetry::TraceId;
use flare_session::{
    application::ports::{
        CommandId, ConversationStore, InboxStore, OutboxLine, Placed, PositionBatch, PositionStore,
        ReadUpdate, RosterStore,
    },
    domain::{
        caller::UserKey,
        change::{Change, NamedMember},
        inbox::ReadPosition,
        role::{Class, History, Role},
    },
};
use flare_storage_model::ConversationKey;

use crate::place::{Place, Store};

mod large;
mod outbox;
mod rows;

pub(crate) struct Stores {
    pub(crate) place: Place,
    pub(crate) conversations: Arc<dyn ConversationStore>,
    pub(crate) rosters: Arc<dyn RosterStore>,
    pub(crate) inboxes: Arc<dyn InboxStore>,
    pub(crate) positions: Arc<dyn PositionStore>,
}

pub(crate) async fn plain() -> Stores {
    let place = Place::fresh().await;
    let store = place.open().await;
    stores(place, &store, Arc::clone(&store) as _)
}

async fn cached() -> Stores {
    let place = Place::fresh().await;
    let store = place.open().await;
    let rosters = Place::rosters(&store, 1_000);
    stores(place, &store, Arc::new(rosters))
}

fn stores(place: Place, store: &Arc<Store>, rosters: Arc<dyn RosterStore>) -> Stores {
    Stores {
        place,
        conversations: Arc::clone(store) as _,
        rosters,
        inboxes: Arc::clone(store) as _,
        positions: Arc::clone(store) as _,
    }
}

pub(crate) fn key() -> ConversationKey {
    ConversationKey::new("t", "g")
}

pub(crate) fn at(seq: u64) -> Placed {
    Placed {
        seq,
        ordinal: seq,
        time_ms: 1_000 + i64::try_from(seq).expect("small"),
    }
}

pub(crate) fn named(user: &str, role: Role) -> NamedMember {
    NamedMember {
        user: user.into(),
        role,
    }
}

pub(crate) fn line(number: u64, change: Change) -> (OutboxLine, CommandId) {
    let line = OutboxLine {
        line: format!("{number:026}"),
        key: key(),
        sender: "olga".into(),
        change,
        trace_id: TraceId::from_bytes([9; 16]),
    };
    (
        line,
        CommandId {
            client_id: format!("c{number}").into(),
            fingerprint: [7; 16],
        },
    )
}

pub(crate) fn created() -> Change {
    Change::Created {
        title: "t".into(),
        members: vec![named("olga", Role::Owner), named("mia", Role::Member)],
        history: History::SinceJoin,
        class: Class::Group,
    }
}

pub(crate) fn added(user: &str) -> Change {
    Change::MembersAdded {
        members: vec![named(user, Role::Member)],
        becomes_large: false,
    }
}

impl Stores {
    /// Commits and settles a change at its number.
    pub(crate) async fn change(&self, number: u64, change: Change) {
        let (line, command) = line(number, change);
        let group = self.conversations.conversation(&line.key, &[]).await;
        let decided_on = group.expect("answers").map_or(0, |it| it.as_of);
        self.conversations
            .commit(&line, &command, decided_on, 10)
            .await
            .expect("commits");
        self.conversations
            .settle(&line, &at(number))
            .await
            .expect("settles");
        self.rosters.forget(&line.key);
    }

    pub(crate) async fn version(&self, user: &str) -> u64 {
        self.inboxes
            .version(&UserKey::new("t", user))
            .await
            .expect("answers")
            .version
    }

    pub(crate) async fn read(&self, user: &str, seq: u64) {
        let position = ReadPosition { seq, ordinal: seq };
        let reads = vec![ReadUpdate {
            key: key(),
            user: user.into(),
            position,
        }];
        self.positions
            .put(&PositionBatch {
                reads,
                ..PositionBatch::default()
            })
            .await
            .expect("writes");
    }

    pub(crate) async fn row(&self, user: &str) -> flare_session::domain::inbox::InboxRow {
        let rows = self
            .inboxes
            .rows(&UserKey::new("t", user), &["g".into()])
            .await
            .expect("answers");
        rows.into_iter().next().expect("he has a row")
    }

    pub(crate) async fn members(&self) -> Vec<String> {
        let roster = self.rosters.roster(&key()).await.expect("answers");
        roster
            .and_then(|it| {
                it.members
                    .as_ref()
                    .map(|it| it.keys().map(ToString::to_string).collect())
            })
            .unwrap_or_default()
    }
}

/// Each promise as a test, on the adapters alone and behind the cache.
macro_rules! suite {
    ($adapter:ident: $($file:ident $promise:ident),* $(,)?) => {
        mod $adapter {
            $(
                #[tokio::test]
                async fn $promise() {
                    super::super::$file::$promise(super::super::$adapter().await).await;
                }
            )*
        }
    };
}

mod of {

    suite! { plain:
        outbox a_line_counts_when_it_is_settled,
        outbox settling_twice_changes_nothing,
        outbox a_command_is_answered_again,
        outbox what_is_withdrawn_was_never_there,
        outbox a_refused_commit_writes_nothing,
        outbox what_was_decided_on_something_else_is_not_written,
        rows rows_follow_the_changes,
        rows who_left_keeps_what_was,
        rows a_user_s_version_rises_with_each_change_of_his_rows,
        rows positions_rise_whatever_order_they_come_in,
        rows of_a_member_s_devices_the_foremost_are_kept,
        rows the_stream_may_repeat,
        large members_of_a_large_one_are_told_by_name_and_in_pages,
        large a_decision_is_about_the_owner_and_whom_it_names,
        large a_user_is_in_large_ones_while_he_is_a_member_and_they_are_not_disbanded,
        large who_joins_or_grows_with_his_group_is_incomplete_until_the_change_is_settled,
        large an_answer_without_room_says_whom_to_ask_for_again,
    }
    suite! { cached:
        outbox a_line_counts_when_it_is_settled,
        outbox settling_twice_changes_nothing,
        outbox what_is_withdrawn_was_never_there,
        rows rows_follow_the_changes,
        rows who_left_keeps_what_was,
        rows a_user_s_version_rises_with_each_change_of_his_rows,
        rows the_stream_may_repeat,
        large members_of_a_large_one_are_told_by_name_and_in_pages,
        large a_user_is_in_large_ones_while_he_is_a_member_and_they_are_not_disbanded,
    }
}

#[tokio::test]
async fn what_was_committed_is_there_when_the_file_is_opened_again() {
    let stores = plain().await;
    stores.change(1, created()).await;
    let (line, command) = line(2, added("max"));
    stores
        .conversations
        .commit(&line, &command, 1, 10)
        .await
        .expect("commits");
    // Not closed: as after a crash.
    let again = stores.place.open().await;
    let roster = RosterStore::roster(&*again, &key())
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(roster.members.as_ref().map(|it| it.len()), Some(2));
    assert_eq!(again.pending(&key()).await, Ok(vec![line]));
}
