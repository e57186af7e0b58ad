//! Large conversations: which of them interest this gateway, and who of its clients gets what comes of one.

mod announcing;
mod asking;
mod hinting;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flare_core::deliver::EncodedEvent;
use flare_proto::{client::CloseReason, common::ErrorCode};
use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, flags};
use tokio::{
    sync::{Notify, watch},
    time::{Duration, timeout},
};

use super::{
    connection::{Close, Connection},
    connections::Connections,
};
use crate::domain::large::{Bounds, Change, LargeDirectory, LargeEvent, UserKey};

/// A client is let in after this all the same: what its user's large conversations bring meanwhile, it is told when they are known.
const PATIENCE: Duration = Duration::from_secs(1);

/// What an event comes with, beside its connections.
#[derive(Clone, Debug)]
pub struct MembersHere {
    /// Who comes and goes by it; None: it cannot be read.
    pub change: Option<Change>,
    /// The seq of the last member event before it, or of a later one.
    pub member_seq: u64,
    /// The connections are those of all members.
    pub named_all: bool,
}

/// The directory of large conversations, and what is to be done about it. [`run_asking`](Self::run_asking), [`run_hinting`](Self::run_hinting) and
/// [`run_announcing`](Self::run_announcing) do it.
#[derive(Debug)]
pub struct LargeConversations {
    directory: Mutex<LargeDirectory>,
    connections: Arc<Connections>,
    /// Somebody is to be asked for.
    to_ask: Notify,
    /// A question was answered, or had no answer.
    answered: watch::Sender<()>,
    /// Hints are due at another time.
    to_hint: Notify,
    /// What interests this gateway is something else.
    interest: watch::Sender<()>,
}

impl LargeConversations {
    /// Nobody is connected.
    pub fn new(bounds: Bounds, connections: Arc<Connections>) -> Self {
        Self {
            directory: Mutex::new(LargeDirectory::new(bounds)),
            connections,
            to_ask: Notify::new(),
            answered: watch::Sender::default(),
            to_hint: Notify::new(),
            interest: watch::Sender::default(),
        }
    }

    /// A connection comes. Before presence is told of it.
    pub fn connects(&self, connection: &Connection) {
        let identity = &connection.identity;
        let user = UserKey::new(&identity.tenant, &identity.user);
        self.directory().connect(user, connection.id);
    }

    /// Presence has taken it. Returns when it may be let in: what comes from here on of its user's large conversations comes to it, or it is told.
    pub async fn registered(&self, connection: &Connection) {
        let id = connection.id;
        let mut answered = self.answered.subscribe();
        if self.directory().registered(id) {
            self.to_ask.notify_one();
        }
        let known = async {
            while !self.is_known_or_failed(id) {
                // The sender is self's.
                if answered.changed().await.is_err() {
                    return;
                }
            }
        };
        if timeout(PATIENCE, known).await.is_err() {
            tracing::debug!("a client is let in before its large conversations are known");
        }
        self.directory().begins(id);
    }

    /// Whether there is nothing to wait for: flare-session has answered, or does not.
    fn is_known_or_failed(&self, connection: u64) -> bool {
        let directory = self.directory();
        directory.is_known(connection) || directory.has_failed()
    }

    /// It has ended.
    pub fn ended(&self, connection: &Connection) {
        let before = self.count();
        self.directory().disconnect(connection.id);
        self.look_at_interest(before);
    }

    /// Its device begins or ends to show a conversation.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED: it shows too many.
    pub fn view(
        &self,
        connection: &Connection,
        conversation: &str,
        active: bool,
    ) -> Result<(), Refusal> {
        let viewed = self.directory().view(connection.id, conversation, active);
        let owed = viewed.map_err(|error| {
            Refusal::new(ErrorCode::LimitExceeded, error.to_string()).with_field("viewing")
        })?;
        if let Some(head_seq) = owed {
            self.hint_one(connection.id, conversation, head_seq);
        }
        Ok(())
    }

    /// Something that was sent here may be lost, and presence may not have known who is here: all users are asked for again.
    pub fn doubt_all(&self) {
        self.directory().doubt_all();
        self.to_ask.notify_one();
    }

    /// Puts an event out to who is to have it now. Answers to how many, and adds those of `named` that are gone.
    pub fn deliver(
        &self,
        event: &Arc<EncodedEvent>,
        named: &[u64],
        members: &MembersHere,
        gone: &mut Vec<u64>,
    ) -> u64 {
        let view = event.view();
        let key = ConversationKey::new(view.tenant_id, view.conversation_id);
        let change = members.change.as_ref();
        let now_ms = self.connections.now_ms();
        let before = self.count();
        let fan_out = self.directory().event(
            &LargeEvent {
                key: &key,
                seq: view.seq,
                change: change.unwrap_or(&Change::None),
                // One that cannot be read is one that was missed.
                changes_members: change.is_some() && view.flags & flags::MEMBERSHIP != 0,
                member_seq: members.member_seq,
                connections: named,
                named_all: members.named_all,
            },
            now_ms,
        );
        self.look_at_interest(before);
        if fan_out.is_unwanted {
            // It is taken back.
            self.interest.send_replace(());
        } else {
            self.to_hint.notify_one();
        }
        // Whoever's places came into doubt is asked for.
        self.to_ask.notify_one();
        self.has_no_room(&fan_out.no_room);
        let mut put = 0;
        for id in fan_out.connections {
            let Some(connection) = self.connections.get(id) else {
                if named.contains(&id) {
                    gone.push(id);
                }
                continue;
            };
            // The origin device has its acknowledgement instead.
            let is_origin = !view.sender_device_id.is_empty()
                && *connection.identity.user == *view.sender_id
                && *connection.identity.device == *view.sender_device_id;
            if !is_origin && connection.deliver(Arc::clone(event), now_ms) {
                put += 1;
            }
        }
        put
    }

    /// Connections whose users are in more large conversations than there is room for go elsewhere.
    fn has_no_room(&self, connections: &[u64]) {
        if connections.is_empty() {
            return;
        }
        let message = "this server has no room for more members of large conversations";
        let close = Close::new(CloseReason::GoingAway, message);
        let closed = self.connections.close(connections, &close);
        tracing::warn!(closed, "{message}");
        metrics::counter!("flare_access_gateway_large_places_refused_total")
            .increment(closed as u64);
    }

    fn count(&self) -> usize {
        self.directory().changed()
    }

    /// Whoever tells what interests this gateway looks, if that is something else than before.
    fn look_at_interest(&self, before: usize) {
        let directory = self.directory();
        metrics::gauge!("flare_access_gateway_large_places").set(directory.places() as f64);
        let has_changed = directory.changed() != before;
        drop(directory);
        if has_changed {
            self.interest.send_replace(());
        }
    }

    fn directory(&self) -> MutexGuard<'_, LargeDirectory> {
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
