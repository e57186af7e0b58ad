//! Takes histories and stored events in, one by one and in any order of clients, and judges them.

mod claims;
mod client_state;
mod commands;
mod conversation;
mod intents;
mod membership;
mod reading;
mod send_order;

mod slot_table;
mod store_review;
mod view_review;

use hashbrown::HashMap;

use self::claims::{Claim, Command, Place, Said};
use self::client_state::ClientState;
use self::conversation::Conversation;
use self::intents::Intents;
use self::membership::pair;
use self::slot_table::Source;
use crate::interner::{Interner, TextId};
use crate::record::{Client, ClientEvent, Kind, MemberChange, Record, ServerEvent};
use crate::verdict::{Counts, Verdict};
use crate::violation::{Teller, Violation, ViolationKind, ViolationLog};

/// All texts of the histories. Client ids, message ids and contents have numbers of their own, so that tables can be indexed by them.
#[derive(Default)]
struct Texts {
    names: Interner,
    message_ids: Interner,
    client_ids: Interner,
    bodies: Interner,
}

/// Decides promises 1 to 6 from clients' histories, the server's events, or both.
///
/// Add every record and every stored event, then ask for the [`verdict`](Self::verdict). Records of one client come in the
/// order of its history; clients, and the server, may be added in any order.
#[derive(Default)]
pub struct Checker {
    texts: Texts,
    conversation_index: HashMap<(TextId, TextId), u32>,
    conversations: Vec<Conversation>,
    client_index: HashMap<(TextId, TextId, TextId), u32>,
    clients: Vec<ClientState>,
    /// The client of the latest record: its next one mostly follows.
    latest_client: u32,
    intents: Intents,
    /// By message id.
    places: Vec<Place>,
    commands: HashMap<(u32, TextId, TextId), Command>,
    /// By tenant and sorted users.
    direct_index: HashMap<(TextId, (TextId, TextId)), u32>,
    store_is_known: bool,
    all_senders_recorded: bool,
    counts: Counts,
    log: ViolationLog,
}

impl Checker {
    /// A checker that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares that the histories hold every command that any user sent, backends' included. Then an event that nobody
    /// intended is a violation ([`ViolationKind::NotIntended`]).
    pub fn declare_all_senders_recorded(&mut self) {
        self.all_senders_recorded = true;
    }

    /// Declares that the server's events are added, all of them, as they stood after the last record. Adding one declares
    /// it too; a server that kept nothing has none to add.
    pub fn declare_store_known(&mut self) {
        self.store_is_known = true;
    }

    /// Tells that retention took the events below `floor` from the store. To be told before the conversation's events.
    pub fn add_server_floor(&mut self, tenant: &str, conversation: &str, floor: u64) {
        let tenant = self.texts.names.intern(tenant);
        let conversation = self.conversation(tenant, conversation);
        let known = &mut self.conversations[conversation as usize].floor;
        *known = floor.max(*known);
    }

    /// Takes one event of the server's store. The same event may be told again, as by a log and a store.
    pub fn add_server_event(&mut self, event: &ServerEvent) {
        self.store_is_known = true;
        self.counts.server_events += 1;
        let teller = Teller::Server(event);
        let tenant = self.texts.names.intern(&event.tenant);
        let conversation = self.conversation(tenant, &event.conversation);
        if event.seq == 0 {
            self.report(
                ViolationKind::BrokenHistory,
                conversation,
                0,
                teller,
                "a stored event has seq 0",
            );
            return;
        }
        for change in &event.member_changes {
            self.member_change(conversation, event.seq, change);
        }
        if let [a, b] = &event.participants[..] {
            self.participants(conversation, event.seq, a, b, teller);
        }
        self.recalled(conversation, event.seq, event.recalled_seq);
        if event.body_hash.is_none() && event.kind == Kind::Message {
            self.conversations[conversation as usize]
                .withheld
                .entry(event.seq)
                .or_insert(None);
        }
        let head = &mut self.conversations[conversation as usize].stored_head;
        *head = event.seq.max(*head);
        let claim = Claim {
            source: Source::Store,
            message_id: &event.message_id,
            sender: Said::Text(&event.sender),
            client_id: Some(Said::Text(&event.client_id)),
            body: event.body_hash.as_deref().map(Said::Text),
            kind: Some(event.kind),
            ordinal: Some(event.ordinal),
            time_ms: Some(event.time_ms),
        };
        self.claim(conversation, event.seq, &claim, teller);
    }

    /// Takes one record of a client's history.
    pub fn add(&mut self, record: &Record) {
        let client = self.client(&record.client);
        self.check_index(client, record);
        let tenant = self.texts.names.intern(&record.client.tenant);
        match &record.event {
            ClientEvent::Intent(intent) => self.intent(client, tenant, intent),
            ClientEvent::Resent { client_id } => self.resent(client, client_id, record),
            ClientEvent::Abandoned { client_id } => {
                self.counts.abandons += 1;
                let client_id = self.texts.client_ids.intern(client_id);
                self.state(client).sends.abandoned(client_id);
            }
            ClientEvent::Acked(acked) => self.acked(client, tenant, acked, record),
            ClientEvent::Refused(refused) => self.refused(client, tenant, refused, record),
            ClientEvent::Delivered(delivered) => self.delivered(client, tenant, delivered, record),
            ClientEvent::Snapshot {
                conversation,
                as_of,
            } => {
                let conversation = self.conversation(tenant, conversation);
                self.named_head(conversation, *as_of);
                let view = self.state(client).view(conversation);
                view.as_of = view.as_of.max(*as_of);
            }
            ClientEvent::SyncHint { conversation } => {
                self.counts.sync_hints += 1;
                match conversation {
                    Some(name) => {
                        let conversation = self.conversation(tenant, name);
                        self.state(client).hinted(conversation);
                    }
                    None => self.state(client).hinted_of_all(),
                }
            }
            ClientEvent::Floor {
                conversation,
                floor,
            } => {
                self.counts.floors += 1;
                let conversation = self.conversation(tenant, conversation);
                let view = self.state(client).view(conversation);
                view.floor = view.floor.max(*floor);
            }
            ClientEvent::Sync(answer) => self.synced(client, tenant, answer, record),
            ClientEvent::Connected => {
                self.counts.connections += 1;
                self.state(client).connection_changed();
            }
            ClientEvent::OnlineThroughout => self.state(client).stays_online(),
            ClientEvent::Disconnected => {
                self.counts.disconnections += 1;
                self.state(client).connection_changed();
            }
            ClientEvent::Kicked { .. } => self.counts.kicks += 1,
            ClientEvent::Restart => self.counts.restarts += 1,
            ClientEvent::Takeover { .. } => self.counts.takeovers += 1,
            ClientEvent::Member {
                conversation,
                at_seq,
                change,
            } => {
                let conversation = self.conversation(tenant, conversation);
                self.member_change(conversation, *at_seq, change);
            }
            ClientEvent::End {
                conversation,
                read_to,
            } => {
                self.counts.ends += 1;
                let conversation = self.conversation(tenant, conversation);
                self.state(client).view(conversation).read_to = Some(*read_to);
            }
            ClientEvent::Quiesced => self.state(client).quiesced = true,
        }
    }

    /// The first violation so far. More may be found by the final review.
    pub fn first_violation(&self) -> Option<&Violation> {
        self.log.first.first()
    }

    /// Reviews the whole and judges it.
    pub fn verdict(mut self) -> Verdict {
        let members: Vec<_> = self
            .conversations
            .iter_mut()
            .map(|conversation| conversation.membership.spans())
            .collect();
        self.review_store();
        self.review_events(&members);
        self.review_views(&members);
        self.counts.clients = self.clients.len() as u64;
        self.counts.conversations = self.conversations.len() as u64;
        self.counts.unanswered = self
            .clients
            .iter()
            .map(|state| state.sends.unanswered())
            .sum();
        for conversation in &self.conversations {
            let (joins, removals) = conversation.membership.count();
            self.counts.joins += joins;
            self.counts.removals += removals;
            self.counts.recalls += conversation
                .slots
                .iter()
                .filter(|(_, slot)| slot.kind == Some(Kind::Recall))
                .count() as u64;
        }
        Verdict {
            violations: self.log.first,
            by_kind: self.log.by_kind,
            counts: self.counts,
        }
    }

    fn client(&mut self, client: &Client) -> u32 {
        if self
            .clients
            .get(self.latest_client as usize)
            .is_some_and(|latest| latest.client == *client)
        {
            return self.latest_client;
        }
        let names = &mut self.texts.names;
        let key = (
            names.intern(&client.tenant),
            names.intern(&client.user),
            names.intern(&client.device),
        );
        let clients = &mut self.clients;
        self.latest_client = *self.client_index.entry(key).or_insert_with(|| {
            clients.push(ClientState::new(client.clone()));
            (clients.len() - 1) as u32
        });
        self.latest_client
    }

    fn state(&mut self, client: u32) -> &mut ClientState {
        &mut self.clients[client as usize]
    }

    fn conversation(&mut self, tenant: TextId, name: &str) -> u32 {
        let name = self.texts.names.intern(name);
        let conversations = &mut self.conversations;
        *self
            .conversation_index
            .entry((tenant, name))
            .or_insert_with(|| {
                conversations.push(Conversation::new(tenant, name));
                (conversations.len() - 1) as u32
            })
    }

    fn report(
        &mut self,
        kind: ViolationKind,
        conversation: u32,
        seq: u64,
        teller: Teller<'_>,
        detail: impl AsRef<str>,
    ) {
        let Self {
            texts,
            conversations,
            log,
            ..
        } = self;
        let (tenant, name) = conversations[conversation as usize].label(texts);
        log.report(
            kind,
            |violation| violation.at(tenant, name, seq).told_by(teller),
            format_args!("{}", detail.as_ref()),
        );
    }

    fn check_index(&mut self, client: u32, record: &Record) {
        let last = self.state(client).last_index.replace(record.index);
        if let Some(last) = last.filter(|&last| last >= record.index) {
            self.log.report(
                ViolationKind::BrokenHistory,
                |violation| violation.told_by(Teller::Client(record)),
                format_args!("record {} follows record {last}", record.index),
            );
        }
    }

    fn named_head(&mut self, conversation: u32, head: u64) {
        let known = &mut self.conversations[conversation as usize].named_head;
        *known = head.max(*known);
    }

    /// The event at `seq` takes `target` back.
    fn recalled(&mut self, conversation: u32, seq: u64, target: Option<u64>) {
        if let Some(target) = target {
            let recalled = &mut self.conversations[conversation as usize].recalled;
            let first = recalled.entry(target).or_insert(seq);
            *first = seq.min(*first);
        }
    }

    fn member_change(&mut self, conversation: u32, at_seq: u64, change: &MemberChange) {
        let membership = &mut self.conversations[conversation as usize].membership;
        match change {
            MemberChange::Joined { user, history_from } => {
                membership.joined(
                    self.texts.names.intern(user),
                    at_seq,
                    history_from.unwrap_or(at_seq),
                );
            }
            MemberChange::Removed { user } => {
                membership.removed(self.texts.names.intern(user), at_seq)
            }
        }
    }

    /// The store names the two users of a direct conversation.
    fn participants(&mut self, conversation: u32, seq: u64, a: &str, b: &str, teller: Teller<'_>) {
        let users = pair(self.texts.names.intern(a), self.texts.names.intern(b));
        let known = self.conversations[conversation as usize]
            .membership
            .direct();
        if known.is_some_and(|known| known != users) {
            let detail = format!("the event names {a} and {b}, an earlier one named others");
            self.report(
                ViolationKind::ParticipantsChanged,
                conversation,
                seq,
                teller,
                detail,
            );
        } else {
            self.direct(conversation, seq, users, teller);
        }
    }

    /// The conversation is the direct one of two users. They have no other.
    fn direct(&mut self, conversation: u32, seq: u64, users: (TextId, TextId), teller: Teller<'_>) {
        let state = &mut self.conversations[conversation as usize];
        state.membership.set_direct(users);
        let first = *self
            .direct_index
            .entry((state.tenant, users))
            .or_insert(conversation);
        if first != conversation {
            let (_, name) = self.conversations[first as usize].label(&self.texts);
            let detail = format!("the direct conversation of its users is {name}");
            self.report(ViolationKind::Misrouted, conversation, seq, teller, detail);
        }
    }
}

impl Conversation {
    /// Tenant and name, for people.
    fn label<'a>(&self, texts: &'a Texts) -> (&'a str, &'a str) {
        (texts.names.get(self.tenant), texts.names.get(self.name))
    }
}
