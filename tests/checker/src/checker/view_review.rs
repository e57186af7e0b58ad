//! The final review of the readers: did each get what it was to get, and nothing else?

use hashbrown::{HashMap, HashSet};

use super::Checker;
use super::client_state::{ClientState, View};
use super::conversation::Conversation;
use super::membership::Spans;
use super::slot_table::Source;
use super::store_review::Members;
use crate::interner::TextId;
use crate::violation::ViolationKind;

/// What a view lacks or has too much of: the kind, the first seq, and words for it.
type Finding = (ViolationKind, u64, String);

impl Checker {
    pub(super) fn review_views(&mut self, members: &[Members]) {
        let memberships = self.memberships(members);
        let Self {
            clients,
            conversations,
            texts,
            log,
            store_is_known,
            ..
        } = self;
        for state in clients.iter() {
            let tenant = texts.names.find(&state.client.tenant);
            let user = texts.names.find(&state.client.user);
            let (Some(tenant), Some(user)) = (tenant, user) else {
                continue;
            };
            let mut places: Vec<u32> = state.views.keys().copied().collect();
            if state.quiesced {
                places.extend(memberships.get(&(tenant, user)).into_iter().flatten());
            }
            places.sort_unstable();
            places.dedup();
            let unheard_of = View::default();
            for at in places {
                let conversation = &conversations[at as usize];
                let view = state.views.get(&at).unwrap_or(&unheard_of);
                let members = members[at as usize].as_ref();
                let stranger = Spans::default();
                let spans = members.map(|members| members.get(&user).unwrap_or(&stranger));
                let (tenant, name) = conversation.label(texts);
                let seen = spans.and_then(|spans| intrusion(view, spans));
                let lacking = lacking(state, view, conversation, spans, *store_is_known);
                let floor = false_floor(view, conversation, spans, *store_is_known);
                for (kind, seq, detail) in seen.into_iter().chain(floor).chain(lacking) {
                    log.report(
                        kind,
                        |violation| violation.at(tenant, name, seq).seen_by(&state.client),
                        format_args!("{detail}"),
                    );
                }
            }
        }
    }

    /// The conversations of each user of whom somebody claims that all of them are synced.
    fn memberships(&self, members: &[Members]) -> HashMap<(TextId, TextId), Vec<u32>> {
        let names = &self.texts.names;
        let wanted: HashSet<_> = self
            .clients
            .iter()
            .filter(|state| state.quiesced)
            .filter_map(|state| {
                Some((
                    names.find(&state.client.tenant)?,
                    names.find(&state.client.user)?,
                ))
            })
            .collect();
        let mut memberships: HashMap<_, Vec<u32>> = HashMap::new();
        if wanted.is_empty() {
            return memberships;
        }
        for ((at, conversation), members) in self.conversations.iter().enumerate().zip(members) {
            for (&user, spans) in members.iter().flatten() {
                let key = (conversation.tenant, user);
                if spans.is_member_now() && wanted.contains(&key) {
                    memberships.entry(key).or_default().push(at as u32);
                }
            }
        }
        memberships
    }
}

/// An event that the user was not to get.
fn intrusion(view: &View, spans: &Spans) -> Option<Finding> {
    let seq = view.seen.first_outside(&spans.readable)?;
    if spans.member.is_empty() {
        return Some((
            ViolationKind::DeliveredToStranger,
            seq,
            "the user never was a member".to_owned(),
        ));
    }
    match spans
        .member
        .iter()
        .rev()
        .find(|&&(_, removed)| removed < seq)
    {
        Some((_, removed)) => Some((
            ViolationKind::DeliveredAfterRemoval,
            seq,
            format!("the user was removed at seq {removed}"),
        )),
        None => {
            let first = spans
                .readable
                .iter()
                .map(|&(from, _)| from)
                .min()
                .unwrap_or(0);
            Some((
                ViolationKind::DeliveredBeforeJoin,
                seq,
                format!("the user may read from seq {first} on"),
            ))
        }
    }
}

/// A floor above what is kept and may be read.
fn false_floor(
    view: &View,
    conversation: &Conversation,
    spans: Option<&Spans>,
    store_is_known: bool,
) -> Option<Finding> {
    let spans = spans.filter(|_| store_is_known && view.floor > 1)?;
    let readable = spans.readable.iter().map(|&(from, _)| from).max()?;
    let kept = conversation.floor.max(readable);
    (view.floor > kept).then(|| {
        (
            ViolationKind::FalseFloor,
            kept,
            format!(
                "floor {} was named, but seq {kept} is kept and readable",
                view.floor
            ),
        )
    })
}

/// What the view of a client that claims to be done lacks.
fn lacking(
    state: &ClientState,
    view: &View,
    conversation: &Conversation,
    spans: Option<&Spans>,
    store_is_known: bool,
) -> Vec<Finding> {
    // Who was removed need not have learnt of it, unless he claims to.
    let belongs = spans.is_none_or(Spans::is_member_now);
    if view.read_to.is_none() && !(state.quiesced && belongs) {
        return Vec::new();
    }
    // The latest span of membership is what he is to have.
    let Some((joined, removed)) =
        spans.map_or(Some((1, u64::MAX)), |spans| spans.member.last().copied())
    else {
        return Vec::new();
    };
    let start = joined
        .max(view.floor)
        .max(view.as_of.saturating_add(1))
        .max(1);
    let head = conversation.head(store_is_known).min(removed);
    let head = head.max(view.read_to.filter(|_| removed == u64::MAX).unwrap_or(0));
    let reached = view.seen.max().unwrap_or(0);
    let holes = view.seen.missing(start, head);
    if holes.is_empty() {
        return not_pushed(state, view, start, head).into_iter().collect();
    }
    let describe = |(from, to): (u64, u64)| {
        let lost = conversation
            .slots
            .range(from, to)
            .find(|(_, slot)| slot.was_told_by(Source::Ack))
            .map(|(seq, _)| seq);
        let kind = match lost {
            Some(_) => ViolationKind::AckedUnseen,
            None if from < reached => ViolationKind::ViewGap,
            None => ViolationKind::NotReached,
        };
        (
            kind,
            lost.unwrap_or(from),
            format!("the view lacks seqs {from}..={to}, the head is {head}"),
        )
    };
    holes.into_iter().map(describe).collect()
}

/// The first event of which a device that stayed online was not told.
fn not_pushed(state: &ClientState, view: &View, start: u64, head: u64) -> Option<Finding> {
    if !state.online {
        return None;
    }
    let start = start.max(view.online_from.saturating_add(1));
    let &(seq, to) = view.pushed.missing(start, head).first()?;
    let detail = format!("seqs {seq}..={to} came neither by push nor after a hint");
    Some((ViolationKind::NotPushed, seq, detail))
}
