//! A short language for histories by hand. The message at seq 3 of `g` has the id `g#3`; the content of client id `a1` is `a1`.

use flare_checker::{
    Acked, Checker, Client, ClientEvent, Delivered, Intent, Kind, MemberChange, Record, Refused,
    ServerEvent, SyncAnswer, Target, Verdict, Via, ViolationKind, body_hash,
};

pub(crate) const ALICE: &str = "alice/phone";
pub(crate) const PAD: &str = "alice/pad";
pub(crate) const BOB: &str = "bob/laptop";
pub(crate) const CAROL: &str = "carol/phone";

#[derive(Default)]
pub(crate) struct Story {
    pub(crate) records: Vec<Record>,
    pub(crate) store: Vec<ServerEvent>,
    pub(crate) floors: Vec<(&'static str, u64)>,
    pub(crate) all_senders_recorded: bool,
    pub(crate) store_known: bool,
}

pub(crate) fn client(name: &str) -> Client {
    let (user, device) = name.split_once('/').expect("user/device");
    Client::new("default", user, device)
}

pub(crate) fn id_at(conversation: &str, seq: u64) -> String {
    format!("{conversation}#{seq}")
}

impl Story {
    pub(crate) fn push(&mut self, who: &str, event: ClientEvent) -> &mut Record {
        self.push_as(client(who), event)
    }

    pub(crate) fn push_as(&mut self, client: Client, event: ClientEvent) -> &mut Record {
        let index = 1 + self.records.len() as u64;
        self.records.push(Record {
            client,
            index,
            time_ms: 1_000 + index as i64,
            event,
        });
        self.records.last_mut().expect("pushed")
    }

    /// `to` is a conversation, or `@user`.
    pub(crate) fn intend(&mut self, who: &str, client_id: &str, to: &str) {
        self.intend_content(who, client_id, to, client_id);
    }

    pub(crate) fn intend_content(&mut self, who: &str, client_id: &str, to: &str, content: &str) {
        let target = match to.strip_prefix('@') {
            Some(user) => Target::User(user.into()),
            None => Target::Conversation(to.into()),
        };
        let sender = client(who).user;
        let body_hash = body_hash(content.as_bytes());
        self.push(
            who,
            ClientEvent::Intent(Intent {
                client_id: client_id.into(),
                target,
                sender,
                body_hash,
                kind: Kind::Message,
            }),
        );
    }

    pub(crate) fn resend(&mut self, who: &str, client_id: &str) {
        self.push(
            who,
            ClientEvent::Resent {
                client_id: client_id.into(),
            },
        );
    }

    pub(crate) fn ack(
        &mut self,
        who: &str,
        client_id: &str,
        conversation: &str,
        seq: u64,
    ) -> &mut Acked {
        let acked = Acked {
            client_id: client_id.into(),
            conversation: conversation.into(),
            seq,
            message_id: id_at(conversation, seq),
            duplicate: false,
            body_hash: None,
        };
        match &mut self.push(who, ClientEvent::Acked(acked)).event {
            ClientEvent::Acked(acked) => acked,
            _ => unreachable!("just pushed"),
        }
    }

    pub(crate) fn refuse(&mut self, who: &str, client_id: &str, code: &str) {
        self.push(
            who,
            ClientEvent::Refused(Refused {
                client_id: client_id.into(),
                code: code.into(),
                retryable: true,
            }),
        );
    }

    /// A send that goes as it should.
    pub(crate) fn send(&mut self, who: &str, client_id: &str, conversation: &str, seq: u64) {
        self.intend(who, client_id, conversation);
        self.ack(who, client_id, conversation, seq);
        self.stored(conversation, seq, &client(who).user, client_id);
    }

    pub(crate) fn stored(
        &mut self,
        conversation: &str,
        seq: u64,
        sender: &str,
        client_id: &str,
    ) -> &mut ServerEvent {
        self.store_known = true;
        self.store.push(ServerEvent {
            tenant: "default".into(),
            conversation: conversation.into(),
            seq,
            ordinal: seq,
            message_id: id_at(conversation, seq),
            sender: sender.into(),
            client_id: client_id.into(),
            body_hash: Some(body_hash(client_id.as_bytes())),
            time_ms: 5_000 + seq as i64,
            kind: Kind::Message,
            member_changes: Vec::new(),
            participants: Vec::new(),
            recalled_seq: None,
        });
        self.store.last_mut().expect("pushed")
    }

    /// A member event, stored only.
    pub(crate) fn members(&mut self, conversation: &str, seq: u64, changes: Vec<MemberChange>) {
        let event = self.stored(
            conversation,
            seq,
            "owner",
            &format!("outbox-{conversation}-{seq}"),
        );
        event.kind = Kind::Member;
        event.member_changes = changes;
    }

    pub(crate) fn get(
        &mut self,
        who: &str,
        conversation: &str,
        seq: u64,
        from: &str,
        client_id: &str,
        via: Via,
    ) -> &mut Delivered {
        let body = body_hash(client_id.as_bytes());
        let mut event =
            Delivered::message(conversation, seq, id_at(conversation, seq), from, body, via);
        event.client_id = Some(client_id.into());
        match &mut self.push(who, ClientEvent::Delivered(event)).event {
            ClientEvent::Delivered(event) => event,
            _ => unreachable!("just pushed"),
        }
    }

    /// All that the store has of the conversation in this range.
    pub(crate) fn get_stored(
        &mut self,
        who: &str,
        conversation: &str,
        seqs: std::ops::RangeInclusive<u64>,
        via: Via,
    ) {
        let events: Vec<_> = self
            .store
            .iter()
            .filter(|event| event.conversation == conversation && seqs.contains(&event.seq))
            .cloned()
            .collect();
        for event in events {
            self.receive(who, &event, via);
        }
    }

    /// An event, and what it tells of the members.
    pub(crate) fn receive(&mut self, who: &str, event: &ServerEvent, via: Via) {
        self.push(who, ClientEvent::Delivered(as_delivered(event, via)));
        for change in &event.member_changes {
            let conversation = event.conversation.clone();
            self.push(
                who,
                ClientEvent::Member {
                    conversation,
                    at_seq: event.seq,
                    change: change.clone(),
                },
            );
        }
    }

    pub(crate) fn synced(&mut self, who: &str, conversation: &str, from: u64, to: u64, head: u64) {
        let answer = SyncAnswer {
            conversation: conversation.into(),
            from,
            to,
            head,
            events: None,
        };
        self.push(who, ClientEvent::Sync(answer));
    }

    pub(crate) fn end(&mut self, who: &str, conversation: &str, read_to: u64) {
        self.push(
            who,
            ClientEvent::End {
                conversation: conversation.into(),
                read_to,
            },
        );
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let mut checker = Checker::new();
        if self.all_senders_recorded {
            checker.declare_all_senders_recorded();
        }
        if self.store_known {
            checker.declare_store_known();
        }
        for (conversation, floor) in &self.floors {
            checker.add_server_floor("default", conversation, *floor);
        }
        for record in &self.records {
            checker.add(record);
        }
        for event in &self.store {
            checker.add_server_event(event);
        }
        checker.verdict()
    }
}

pub(crate) fn as_delivered(event: &ServerEvent, via: Via) -> Delivered {
    Delivered {
        conversation: event.conversation.clone(),
        seq: event.seq,
        message_id: event.message_id.clone(),
        sender: event.sender.clone(),
        via,
        client_id: Some(event.client_id.clone()),
        body_hash: event.body_hash.clone(),
        kind: Some(event.kind),
        ordinal: Some(event.ordinal),
        server_time_ms: Some(event.time_ms),
        recalled_seq: event.recalled_seq,
        tenant: Some(event.tenant.clone()),
    }
}

pub(crate) fn joined(user: &str) -> MemberChange {
    MemberChange::Joined {
        user: user.into(),
        history_from: None,
    }
}

pub(crate) fn removed(user: &str) -> MemberChange {
    MemberChange::Removed { user: user.into() }
}

/// A lie, the kind that must be named first, and what tells it.
pub(crate) type Forgery = (ViolationKind, fn(&mut Story));

pub(crate) fn assert_named(kind: ViolationKind, forge: fn(&mut Story)) {
    let mut story = Story::default();
    forge(&mut story);
    let verdict = story.verdict();
    assert_eq!(
        verdict.first().map(|violation| violation.kind),
        Some(kind),
        "{verdict}"
    );
}

pub(crate) fn assert_kept(tell: impl FnOnce(&mut Story)) {
    let mut story = Story::default();
    tell(&mut story);
    let verdict = story.verdict();
    assert!(verdict.is_kept(), "{verdict}");
}

/// One test for each forgery, and the list of them.
macro_rules! forgeries {
    ($($name:ident: $kind:ident, $forge:expr;)+) => {
        pub(crate) const FORGERIES: &[$crate::story::Forgery] = &[$((flare_checker::ViolationKind::$kind, $forge),)+];
        $(
            #[test]
            fn $name() {
                $crate::story::assert_named(flare_checker::ViolationKind::$kind, $forge);
            }
        )+
    };
}
pub(crate) use forgeries;
