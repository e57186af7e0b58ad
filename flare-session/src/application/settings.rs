//! What a user sets for himself: mute, pin, hide.

use std::sync::Arc;

use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;

use super::{
    access::Access,
    heads::Heads,
    ports::{Audience, InboxStore, Signal, SignalKind},
    signals::Signals,
};
use crate::domain::{
    caller::{Actor, Caller, UserKey},
    inbox::SettingsPatch,
    membership::Standing,
    rule::Rule,
};

/// Changes settings.
pub struct SettingsUpdates {
    pub(crate) access: Arc<Access>,
    pub(crate) inboxes: Arc<dyn InboxStore>,
    pub(crate) heads: Arc<Heads>,
    pub(crate) signals: Arc<Signals>,
}

/// What a caller wants to be different; what is None stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Unix milliseconds; 0: not muted; -1: for ever.
    pub mute_until_ms: Option<i64>,
    /// On top of the list.
    pub pinned: Option<bool>,
    /// Out of the list until the next message.
    pub hidden: Option<bool>,
}

/// A user's settings of a conversation, as he is told them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Unix milliseconds; 0: not muted; -1: for ever.
    pub mute_until_ms: i64,
    /// On top of the list.
    pub pinned: bool,
    /// Out of the list until the next message.
    pub hidden: bool,
}

impl SettingsUpdates {
    /// Changes the caller's settings of a conversation that he is or was in. His other devices are told.
    pub async fn update(
        &self,
        caller: &Caller,
        key: &ConversationKey,
        wish: &Wish,
    ) -> Result<Shown, Refusal> {
        let Actor::User { id: user, device } = &caller.actor else {
            return Err(Rule::NoUser.into());
        };
        if let Some(until) = wish.mute_until_ms.filter(|it| *it < -1) {
            return Err(Refusal::invalid(
                "mute_until_ms",
                format!("mute_until_ms {until}: a time, 0 or -1"),
            ));
        }
        let membership = self.access.member_or_former(key, user).await?;
        // The store's head: a message that is committed and not yet in memory must not bring back what is hidden after it.
        let head_seq = self.heads.committed(key).await?.map_or(0, |it| it.head.seq);
        let patch = SettingsPatch {
            mute_until_ms: wish.mute_until_ms,
            pinned: wish.pinned,
            hidden_at_seq: wish
                .hidden
                .map(|hidden| if hidden { head_seq.max(1) } else { 0 }),
        };
        let whose = UserKey {
            tenant: Arc::clone(&key.tenant),
            user: Arc::clone(user),
        };
        let not_found = || Rule::NotFound {
            conversation: Arc::clone(&key.conversation),
        };
        let settings = self
            .inboxes
            .update_settings(&whose, &key.conversation, &patch)
            .await?
            .ok_or_else(not_found)?;
        if *wish != Wish::default() {
            self.signals.at_once(Signal {
                key: key.clone(),
                user: Arc::clone(user),
                kind: SignalKind::Settings,
                audience: Audience::OwnDevices {
                    except: Arc::clone(device),
                },
            });
        }
        let last_message = match membership.standing {
            Standing::Former => 0,
            _ => self
                .heads
                .reaching(key, 0)
                .await?
                .last_message
                .map_or(0, |it| it.seq),
        };
        Ok(Shown {
            mute_until_ms: settings.mute_until_ms,
            pinned: settings.pinned,
            hidden: settings.is_hidden(last_message),
        })
    }
}
