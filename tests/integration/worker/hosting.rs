//! Owns groups, takes members in, removes them, and changes their roles.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};
use flare_proto::{
    common::ErrorCode,
    message::{EventMember, Role, event_body::Body},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Answer, BURST_EVERY, Order, Orders, Outcome, PATIENCE, Tally, Task, next_order, say};
use crate::{
    person::{Person, SOON},
    view::{Seen, View},
};

/// What a host has to do with.
pub(super) struct House<'a> {
    pub(super) groups: &'a [String],
    pub(super) guests: &'a [String],
    pub(super) ranked: &'a [String],
}

/// A change of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    In,
    Out,
    Role(Role),
}

impl Change {
    /// Whether this event is the change, of this user.
    fn is(self, seen: &Seen, user: &str) -> bool {
        match (self, &seen.change) {
            (Self::In, _) => seen.membership_of(user) == Some(true),
            (Self::Out, _) => seen.membership_of(user) == Some(false),
            (Self::Role(role), Some(Body::RoleChanged(it))) => {
                it.user_id == user && it.role() == role
            }
            (Self::Role(_), _) => false,
        }
    }

    async fn make(self, person: &Person, group: &str, user: &str) -> anyhow::Result<Outcome<u64>> {
        let client = person.client();
        Outcome::of(match self {
            Self::In => client.add_members(group, vec![user.to_owned()]).await,
            Self::Out => client.remove_member(group, user).await,
            Self::Role(role) => client.set_role(group, user, role).await,
        })
    }
}

impl House<'_> {
    /// Changes members and roles until it is told to settle. What was answered stands in the log at the seq that was named.
    pub(super) async fn host(
        &self,
        task: &Task,
        person: &Person,
        tally: &mut Tally,
        orders: &mut Orders,
    ) -> anyhow::Result<()> {
        let mut rng = StdRng::seed_from_u64(task.seed);
        let mut turns = interval(BURST_EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut made = 0;
        loop {
            tokio::select! {
                _ = turns.tick() => {}
                order = next_order(orders) => match order? {
                    Order::Settle => return Ok(()),
                    Order::Finish(_) => bail!("told to finish before it has settled"),
                },
            }
            let Some((group, user, change)) = self.next(person, &mut rng) else {
                continue;
            };
            let seq = match change.make(person, group, user).await? {
                Outcome::Done(seq) => seq,
                Outcome::Open => {
                    tally.unknown += 1;
                    continue;
                }
                // He has just left by himself.
                Outcome::Refused(ErrorCode::NotAMember | ErrorCode::NotFound)
                    if change == Change::Out =>
                {
                    continue;
                }
                Outcome::Refused(code) => {
                    bail!(
                        "{change:?} of {user} in {group} was refused: {}",
                        code.as_str_name()
                    )
                }
            };
            // Nothing had to change: what was asked for had been done by a call without an answer.
            if seq > 0 {
                let what = format!("{change:?} of {user} at {seq} of {group}");
                let is_it = person
                    .sees_within(PATIENCE, &what, |view| {
                        let seen = view.events.get(group)?.get(&seq)?;
                        Some(change.is(seen, user))
                    })
                    .await?;
                ensure!(
                    is_it,
                    "{what} was answered, and something else stands there"
                );
                match change {
                    Change::In => tally.taken_in += 1,
                    Change::Out => tally.removed += 1,
                    Change::Role(_) => tally.roles += 1,
                }
            }
            made += 1;
            say(&Answer::Progress(made))?;
        }
    }

    /// What to change next: somebody who is out comes in, somebody who is in is removed, or has another role.
    fn next(&self, person: &Person, rng: &mut StdRng) -> Option<(&str, &str, Change)> {
        let group = self.groups.choose(rng)?;
        if rng.random_ratio(1, 3) {
            let user = self.ranked.choose(rng)?;
            let role = person.look(|view| roster(view, group).get(user).copied());
            let role = match role {
                Some(Role::Admin) => Role::Member,
                _ => Role::Admin,
            };
            return Some((group, user, Change::Role(role)));
        }
        let user = self.guests.choose(rng)?;
        let belongs = person.look(|view| roster(view, group).contains_key(user));
        let change = if belongs { Change::Out } else { Change::In };
        Some((group, user, change))
    }
}

/// The members of a group, by all of its events.
fn roster(view: &View, group: &str) -> BTreeMap<String, Role> {
    let mut roster = BTreeMap::new();
    let join = |roster: &mut BTreeMap<String, Role>, members: &[EventMember]| {
        for it in members {
            roster.insert(it.user_id.clone(), it.role());
        }
    };
    for (_, seen) in view.events_of(group) {
        match &seen.change {
            Some(Body::ConversationCreated(it)) => join(&mut roster, &it.members),
            Some(Body::MembersAdded(it)) => join(&mut roster, &it.members),
            Some(Body::MemberRemoved(it)) => {
                roster.remove(&it.user_id);
            }
            Some(Body::MemberLeft(it)) => {
                roster.remove(&it.user_id);
            }
            Some(Body::RoleChanged(it)) => {
                roster.insert(it.user_id.clone(), it.role());
            }
            Some(Body::OwnershipTransferred(it)) => {
                roster.insert(it.from_user_id.clone(), Role::Admin);
                roster.insert(it.to_user_id.clone(), Role::Owner);
            }
            _ => {}
        }
    }
    roster
}

/// The members whom the server lists are those whom the events make.
pub(super) async fn rosters_agree(person: &Person, groups: &[String]) -> anyhow::Result<()> {
    let deadline = Instant::now() + SOON;
    let mut attempts = interval(BURST_EVERY);
    attempts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for group in groups {
        let made = person.look(|view| roster(view, group));
        loop {
            attempts.tick().await;
            let listed = person.client().members(group, "").await;
            let listed = listed.map(|it| {
                let members = it.members.iter();
                members.map(|it| (it.user_id.clone(), it.role())).collect()
            });
            if listed.as_ref() == Ok(&made) {
                break;
            }
            ensure!(
                Instant::now() < deadline,
                "the events of {group} make {made:?}, the server lists {listed:?}"
            );
        }
    }
    Ok(())
}
