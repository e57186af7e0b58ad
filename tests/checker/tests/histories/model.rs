//! A small server that keeps its promises, with clients that do all that clients do. Whatever is asked of it, its history is true.

use std::collections::BTreeSet;

use flare_checker::{ClientEvent, Kind, MemberChange, Refused, SyncAnswer, Via};

use crate::steps::{DEVICES, PLACES, Step};
use crate::story::{Story, client, joined, removed};

#[derive(Default)]
struct Device {
    online: bool,
    /// Pushes were dropped and a hint was sent.
    lags: bool,
    seen: [BTreeSet<u64>; 2],
}

/// From when to when a user belongs to the group.
type Span = (u64, Option<u64>);

pub(crate) struct Model {
    story: Story,
    devices: Vec<Device>,
    heads: [u64; 2],
    ordinals: [u64; 2],
    recalled: [BTreeSet<u64>; 2],
    spans: [Vec<Span>; 3],
    sent: u64,
    restarts: u64,
}

fn user(device: usize) -> String {
    client(DEVICES[device]).user
}

/// Of alice, bob and carol.
fn user_index(name: &str) -> usize {
    ["alice", "bob", "carol"]
        .iter()
        .position(|user| *user == name)
        .expect("known user")
}

impl Model {
    /// The true history of these steps.
    pub(crate) fn tell(steps: &[Step]) -> Story {
        let mut model = Self {
            story: Story {
                all_senders_recorded: true,
                store_known: true,
                ..Story::default()
            },
            devices: DEVICES.iter().map(|_| Device::default()).collect(),
            heads: [0; 2],
            ordinals: [0; 2],
            recalled: Default::default(),
            spans: Default::default(),
            sent: 0,
            restarts: 0,
        };
        model.change_members(vec![joined("alice"), joined("bob"), joined("carol")]);
        for step in steps {
            model.step(step.clone());
        }
        for device in 0..DEVICES.len() {
            model.connect(device);
            model.catch_up(device);
        }
        for (device, name) in DEVICES.iter().enumerate() {
            for (place, conversation) in PLACES.iter().enumerate() {
                if let Some((_, to)) = model.readable(device, place) {
                    model.story.end(name, conversation, to);
                }
            }
            model.story.push(name, ClientEvent::Quiesced);
        }
        model.story
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send { device, place } => {
                if let Some(id) = self.intend(device, place) {
                    let seq = self.store(device, place, &id);
                    self.ack(device, place, &id, seq, false);
                }
            }
            Step::SendAgain { device, place } => {
                if let Some(id) = self.intend(device, place) {
                    let seq = self.store(device, place, &id);
                    self.ack(device, place, &id, seq, false);
                    self.story.resend(DEVICES[device], &id);
                    self.ack(device, place, &id, seq, true);
                }
            }
            Step::LoseAck { device, place } => {
                if let Some(id) = self.intend(device, place) {
                    let seq = self.store(device, place, &id);
                    self.disconnect(device);
                    self.connect(device);
                    self.story.resend(DEVICES[device], &id);
                    self.ack(device, place, &id, seq, true);
                }
            }
            Step::LoseSend { device, place } => {
                if let Some(id) = self.intend(device, place) {
                    self.disconnect(device);
                    self.connect(device);
                    self.story.resend(DEVICES[device], &id);
                    let seq = self.store(device, place, &id);
                    self.ack(device, place, &id, seq, false);
                }
            }
            Step::LoseConnection {
                device,
                place,
                arrives,
            } => {
                if let Some(id) = self.intend(device, place) {
                    if arrives {
                        self.store(device, place, &id);
                    }
                    self.disconnect(device);
                }
            }
            Step::Refuse {
                device,
                place,
                behind,
            } => {
                let ids: Vec<_> = (0..=behind)
                    .filter_map(|_| self.intend(device, place))
                    .collect();
                for (at, id) in ids.iter().enumerate() {
                    self.story.refuse(
                        DEVICES[device],
                        id,
                        if at == 0 {
                            "RESOURCE_EXHAUSTED"
                        } else {
                            "RETRY_IN_ORDER"
                        },
                    );
                }
                self.pipeline(device, place, &ids, true);
            }
            Step::GiveUp { device, place } => {
                if let Some(id) = self.intend(device, place) {
                    self.story.refuse(DEVICES[device], &id, "UNAVAILABLE");
                    self.story
                        .push(DEVICES[device], ClientEvent::Abandoned { client_id: id });
                }
            }
            Step::Pipeline {
                device,
                place,
                sends,
            } => {
                let ids: Vec<_> = (0..sends)
                    .filter_map(|_| self.intend(device, place))
                    .collect();
                self.pipeline(device, place, &ids, false);
            }
            Step::Recall { device, place } => self.recall(device, place),
            Step::ToggleMember { carol } => {
                let name = if carol { "carol" } else { "bob" };
                let is_member = self.spans[user_index(name)]
                    .last()
                    .is_some_and(|span| span.1.is_none());
                self.change_members(vec![if is_member {
                    removed(name)
                } else {
                    joined(name)
                }]);
            }
            Step::GoOffline { device } => self.disconnect(device),
            Step::Overflow { device } => {
                if self.devices[device].online && !self.devices[device].lags {
                    self.devices[device].lags = true;
                    self.story.push(
                        DEVICES[device],
                        ClientEvent::SyncHint { conversation: None },
                    );
                }
            }
            Step::CatchUp { device } => {
                if self.devices[device].online {
                    self.catch_up(device);
                }
            }
            Step::ReadHistory { device, place } => {
                if let Some((from, to)) = self.readable(device, place) {
                    self.story
                        .get_stored(DEVICES[device], PLACES[place], from..=to, Via::History);
                    self.devices[device].seen[place].extend(from..=to);
                }
            }
            Step::Restart => {
                self.restarts += 1;
                for device in 0..DEVICES.len() {
                    self.disconnect(device);
                }
                self.story.push("harness/1", ClientEvent::Restart);
                self.story.push(
                    "harness/1",
                    ClientEvent::Takeover {
                        epoch: self.restarts,
                    },
                );
            }
        }
    }

    /// Sends several at once; acks come in the order of odd, then even.
    fn pipeline(&mut self, device: usize, place: usize, ids: &[String], again: bool) {
        let mut receipts = Vec::new();
        for id in ids {
            if again {
                self.story.resend(DEVICES[device], id);
            }
            receipts.push((id, self.store(device, place, id)));
        }
        let (odd, even): (Vec<_>, Vec<_>) = receipts.into_iter().partition(|(_, seq)| seq % 2 == 1);
        for (id, seq) in odd.into_iter().chain(even) {
            self.ack(device, place, id, seq, false);
        }
    }

    /// Meant and sent, and refused for good if the sender is no member.
    fn intend(&mut self, device: usize, place: usize) -> Option<String> {
        self.connect(device);
        self.sent += 1;
        let id = format!("c{}", self.sent);
        // Both names of a direct conversation lead to it.
        let target = match (place, &user(device)[..]) {
            (0, "alice") if self.sent.is_multiple_of(2) => "@bob",
            _ => PLACES[place],
        };
        self.story.intend(DEVICES[device], &id, target);
        if self.is_member(&user(device), place) {
            return Some(id);
        }
        let refusal = Refused {
            client_id: id,
            code: "PERMISSION_DENIED".into(),
            retryable: false,
        };
        self.story
            .push(DEVICES[device], ClientEvent::Refused(refusal));
        None
    }

    fn ack(&mut self, device: usize, place: usize, id: &str, seq: u64, duplicate: bool) {
        self.story
            .ack(DEVICES[device], id, PLACES[place], seq)
            .duplicate = duplicate;
        self.devices[device].seen[place].insert(seq);
    }

    fn store(&mut self, device: usize, place: usize, id: &str) -> u64 {
        self.commit(
            place,
            &user(device),
            id,
            Kind::Message,
            Vec::new(),
            None,
            Some(device),
        )
    }

    fn recall(&mut self, device: usize, place: usize) {
        let name = user(device);
        let mut own = self.story.store.iter().filter(|event| {
            event.conversation == PLACES[place]
                && event.sender == name
                && event.kind == Kind::Message
        });
        let Some(seq) = own
            .next_back()
            .map(|event| event.seq)
            .filter(|seq| !self.recalled[place].contains(seq))
        else {
            return;
        };
        if let Some(id) = self.intend(device, place) {
            match &mut self.story.records.last_mut().expect("the intent").event {
                ClientEvent::Intent(intent) => intent.kind = Kind::Recall,
                other => panic!("{other:?}"),
            }
            self.recalled[place].insert(seq);
            let at = self.commit(
                place,
                &name,
                &id,
                Kind::Recall,
                Vec::new(),
                Some(seq),
                Some(device),
            );
            self.ack(device, place, &id, at, false);
        }
    }

    fn change_members(&mut self, changes: Vec<MemberChange>) {
        let seq = self.heads[1] + 1;
        for change in &changes {
            match change {
                MemberChange::Joined { user, .. } => self.spans[user_index(user)].push((seq, None)),
                MemberChange::Removed { user } => {
                    self.spans[user_index(user)].last_mut().expect("a member").1 = Some(seq);
                }
            }
        }
        self.commit(
            1,
            "alice",
            &format!("outbox{seq}"),
            Kind::Member,
            changes,
            None,
            None,
        );
    }

    #[expect(clippy::too_many_arguments, reason = "an event has that many parts")]
    fn commit(
        &mut self,
        place: usize,
        sender: &str,
        id: &str,
        kind: Kind,
        member_changes: Vec<MemberChange>,
        recalled_seq: Option<u64>,
        origin: Option<usize>,
    ) -> u64 {
        self.heads[place] += 1;
        self.ordinals[place] += u64::from(kind == Kind::Message);
        let seq = self.heads[place];
        let event = self.story.stored(PLACES[place], seq, sender, id);
        event.kind = kind;
        event.ordinal = self.ordinals[place];
        event.member_changes = member_changes;
        event.recalled_seq = recalled_seq;
        if place == 0 {
            event.participants = vec!["alice".into(), "bob".into()];
        }
        let event = event.clone();
        for (device, name) in DEVICES.iter().enumerate() {
            let gets = self
                .readable(device, place)
                .is_some_and(|(from, to)| from <= seq && seq <= to);
            let state = &mut self.devices[device];
            if gets && state.online && !state.lags && origin != Some(device) {
                state.seen[place].insert(seq);
                self.story.receive(name, &event, Via::Deliver);
            }
        }
        seq
    }

    fn is_member(&self, user: &str, place: usize) -> bool {
        match place {
            0 => user != "carol",
            _ => self.spans[user_index(user)]
                .last()
                .is_some_and(|span| span.1.is_none()),
        }
    }

    /// The seqs of the latest membership.
    fn readable(&self, device: usize, place: usize) -> Option<(u64, u64)> {
        let name = user(device);
        if place == 0 {
            return (name != "carol").then_some((1, self.heads[0]));
        }
        self.spans[user_index(&name)]
            .last()
            .map(|&(from, to)| (from, to.unwrap_or(self.heads[1])))
    }

    fn disconnect(&mut self, device: usize) {
        if std::mem::take(&mut self.devices[device].online) {
            self.story.push(DEVICES[device], ClientEvent::Disconnected);
        }
    }

    fn connect(&mut self, device: usize) {
        if !std::mem::replace(&mut self.devices[device].online, true) {
            self.story.push(DEVICES[device], ClientEvent::Connected);
            self.catch_up(device);
            self.story
                .push(DEVICES[device], ClientEvent::OnlineThroughout);
        }
    }

    /// What was taken back comes without its content.
    fn sync(&mut self, device: usize, place: usize, seqs: std::ops::RangeInclusive<u64>) {
        let stored = self.story.store.iter();
        let mut events: Vec<_> = stored
            .filter(|it| it.conversation == PLACES[place] && seqs.contains(&it.seq))
            .cloned()
            .collect();
        for event in &mut events {
            if self.recalled[place].contains(&event.seq) {
                event.body_hash = None;
            }
            self.story.receive(DEVICES[device], event, Via::Sync);
        }
    }

    fn catch_up(&mut self, device: usize) {
        self.devices[device].lags = false;
        for (place, conversation) in PLACES.iter().enumerate() {
            let Some((first, head)) = self.readable(device, place) else {
                continue;
            };
            let seen = &self.devices[device].seen[place];
            let mut from = (first..=head)
                .take_while(|seq| seen.contains(seq))
                .last()
                .unwrap_or(first - 1);
            if from < first && first > 1 {
                self.story.push(
                    DEVICES[device],
                    ClientEvent::Floor {
                        conversation: (*conversation).into(),
                        floor: first,
                    },
                );
            }
            while from < head {
                let to = head.min(from + 3);
                self.sync(device, place, from + 1..=to);
                self.devices[device].seen[place].extend(from + 1..=to);
                let answer = SyncAnswer {
                    conversation: (*conversation).into(),
                    from,
                    to,
                    head,
                    events: Some(to - from),
                };
                self.story.push(DEVICES[device], ClientEvent::Sync(answer));
                from = to;
            }
        }
    }
}
