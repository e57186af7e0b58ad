//! The table: a row for each call, or several where it is about different things.

mod administration;
mod conversations;
mod devices;
mod frames;
mod members;
mod messages;
mod reading;

use flare_core_gateway::handler::method::Method;
use flare_proto::common::ErrorCode;
use serde_json::Value;

use crate::{
    caller::Caller,
    expect::{Expect, Expectations},
    stage::Stage,
};

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A method of core-gateway, and what the client link has in its place.
    Method(Method),
    /// A frame that the client link alone has.
    Frame(&'static str),
}

impl Call {
    /// As the page calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Method(method) => method.name(),
            Self::Frame(frame) => frame,
        }
    }
}

/// What comes of a call that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing changes.
    None,
    /// Something changes, and the same caller or another may do it again.
    Adds,
    /// What the call was about is not there for a second one.
    Spends,
}

/// Who asks about what.
pub(crate) struct Asked<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) caller: Caller,
    /// No other question has it.
    pub(crate) id: String,
    /// Another token of the caller's.
    pub(crate) token: String,
}

impl Asked<'_> {
    /// Whether an API key asks in its own name.
    pub(crate) const fn is_system(&self) -> bool {
        matches!(
            self.caller,
            Caller::Key | Caller::OtherTenantsKey | Caller::KeyWithoutScope | Caller::RevokedKey
        )
    }
}

/// One line.
pub(crate) struct Row {
    pub(crate) call: Call,
    /// What is special about it; empty: nothing.
    pub(crate) about: &'static str,
    /// The request, or the frame's fields, in JSON.
    pub(crate) request: fn(&Asked<'_>) -> Value,
    pub(crate) expects: Expectations,
    pub(crate) effect: Effect,
    /// Whether the group has been disbanded.
    pub(crate) has_ended: bool,
}

/// Every row, in the order of the page.
pub(crate) fn rows() -> Vec<Row> {
    [
        messages::rows(),
        conversations::rows(),
        members::rows(),
        reading::rows(),
        devices::rows(),
        administration::rows(),
        frames::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const OK: Expect = Expect::Done;
/// Was in it, and is not any more.
const GONE: Expect = Expect::Refused(ErrorCode::NotAMember);
/// There is nothing of which he may know.
const UNKNOWN: Expect = Expect::Refused(ErrorCode::ConversationNotFound);
/// Known, and not allowed.
const DENIED: Expect = Expect::Refused(ErrorCode::PermissionDenied);
/// The key has to name a user, or must not.
const WHO: Expect = Expect::Refused(ErrorCode::InvalidArgument);
/// Nothing changes in it any more.
const ENDED: Expect = Expect::Refused(ErrorCode::ConversationDisbanded);
/// Not in this state of the conversation.
const STATE: Expect = Expect::Refused(ErrorCode::FailedPrecondition);

/// What somebody is answered about a conversation that he is not in: left, removed, stranger, other tenant.
const OUTSIDE: [Expect; 4] = [GONE, GONE, UNKNOWN, UNKNOWN];

impl Row {
    /// The request as this caller would make it, about names alone.
    pub(crate) fn sample(&self, caller: Caller) -> Value {
        (self.request)(&Asked {
            stage: &Stage::named(0),
            caller,
            id: String::new(),
            token: String::new(),
        })
    }

    fn new(
        method: Method,
        about: &'static str,
        effect: Effect,
        request: fn(&Asked<'_>) -> Value,
        known: [Expect; 7],
        keys: [Expect; 4],
    ) -> Self {
        Self {
            call: Call::Method(method),
            about,
            request,
            expects: Expectations::new(known, keys),
            effect,
            has_ended: false,
        }
    }

    /// In a group that was disbanded: who is in it may no more than the system.
    fn ended(
        method: Method,
        request: fn(&Asked<'_>) -> Value,
        member: Expect,
        key: Expect,
    ) -> Self {
        let about = "in a disbanded group";
        let effect = Effect::None;
        Self {
            has_ended: true,
            ..Self::inside(method, about, effect, request, [member; 3], [key, member])
        }
    }

    /// About the direct conversation of owner and member, of which everybody else is a stranger.
    fn direct(
        method: Method,
        effect: Effect,
        request: fn(&Asked<'_>) -> Value,
        [owner, member]: [Expect; 2],
        [key, for_owner]: [Expect; 2],
    ) -> Self {
        let known = [owner, UNKNOWN, member, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN];
        let keys = [key, for_owner, UNKNOWN, UNKNOWN];
        let about = "in the direct conversation of owner and member";
        Self::new(method, about, effect, request, known, keys)
    }

    /// About a conversation, of which outsiders learn nothing: what its owner, an admin, a member may, and a key.
    fn inside(
        method: Method,
        about: &'static str,
        effect: Effect,
        request: fn(&Asked<'_>) -> Value,
        [owner, admin, member]: [Expect; 3],
        [key, for_owner]: [Expect; 2],
    ) -> Self {
        let [left, removed, stranger, other_tenant] = OUTSIDE;
        let known = [owner, admin, member, left, removed, stranger, other_tenant];
        // One of another tenant that has to name a user is answered as that user is.
        let keys = [key, for_owner, UNKNOWN, UNKNOWN];
        Self::new(method, about, effect, request, known, keys)
    }
}
