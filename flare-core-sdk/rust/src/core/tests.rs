use flare_core::codec::{ServerFrame, decode_client};
use flare_proto::{
    client::{
        CloseReason, Deliver, ErrorFrame, Goaway, Limits, Pong, Reply, SendAck, SyncHint,
        client_frame::Frame,
    },
    common::{Error, ErrorCode},
    message::{EventBody, EventHeader, MessageCreated, event_body::Body},
    session::{self, InboxEntry, SyncInboxResponse},
    storage::{RangeResult, ReadRangesResponse, SnapshotResponse},
};
use prost::Message;

use super::*;
use crate::{
    cursors::{Cursor, Cursors},
    draft::{Sent, Target},
    error::SendError,
    event::Via,
    observer::Action,
    options::FirstSight,
    permits::Permits,
    queue::Events,
};

mod reading;
mod sending;

/// A core, its consumer, and what it says to the server.
struct Bench {
    core: Core,
    events: Events,
    now_ms: u64,
}

fn bench(adjust: impl FnOnce(&mut Options)) -> Bench {
    let mut options = Options::new("ws://nowhere/ws", "token", "phone");
    options.seed = Some(7);
    options.first_sight = FirstSight::FromStart;
    adjust(&mut options);
    let clock = Arc::new(ServerClock::new(options.seed));
    let queue = EventQueue::new(options.queued_events, options.queued_bytes);
    let events = Events::new(Arc::clone(&queue), options.cursors.clone());
    Bench {
        core: Core::new(&options, clock, queue),
        events,
        now_ms: 0,
    }
}

impl Bench {
    fn connect(&mut self) {
        let connected = Connected {
            tenant_id: "default".to_owned(),
            user_id: "alice".to_owned(),
            device_id: "phone".to_owned(),
            server_time_ms: 1_700_000_000_000,
            heartbeat_ms: 30_000,
            limits: Some(Limits {
                max_unacked_sends: 64,
                max_frame_bytes: 100_000,
                ..Limits::default()
            }),
            ..Connected::default()
        };
        self.core.connected(connected, self.now_ms);
    }

    /// What the core says now.
    fn says(&mut self) -> Vec<Frame> {
        self.core.pump(self.now_ms);
        let mut frames = Vec::new();
        while let Some(payload) = self.core.next_frame() {
            frames.push(decode_client(Codec::Proto, payload.bytes, usize::MAX).unwrap());
        }
        frames
    }

    /// Connects, and answers the question for the inbox by nothing.
    fn settle(&mut self) {
        self.connect();
        self.answer_inbox(&[]);
        self.happened();
    }

    fn answer_inbox(&mut self, heads: &[(&str, u64)]) {
        let entries = heads.iter().map(|(id, head_seq)| InboxEntry {
            conversation: Some(session::Conversation {
                conversation_id: (*id).to_owned(),
                ..session::Conversation::default()
            }),
            head_seq: *head_seq,
            ..InboxEntry::default()
        });
        let page = SyncInboxResponse {
            entries: entries.collect(),
            token: "t1".to_owned(),
            has_more: false,
        };
        let asked = self.says();
        let [Frame::Call(call)] = asked.as_slice() else {
            panic!("{asked:?}")
        };
        assert!(call.method.ends_with("SyncInbox"), "{}", call.method);
        self.reply(call.id, "flare.session.v1.SyncInboxResponse", &page);
    }

    fn reply(&mut self, id: u32, name: &str, answer: &impl Message) {
        let response = prost_types::Any {
            type_url: format!("type.googleapis.com/{name}"),
            value: answer.encode_to_vec(),
        };
        self.hear(ServerFrame::Reply(Reply {
            id,
            response: Some(response),
        }));
    }

    fn hear(&mut self, frame: ServerFrame) {
        assert_eq!(self.core.frame(frame, self.now_ms), None);
    }

    /// The conversations and seqs that the one sync on its way asks for.
    fn asked_sync(&mut self) -> (u32, Vec<(String, u64)>) {
        let asked = self.says();
        let [Frame::Sync(sync)] = asked.as_slice() else {
            panic!("{asked:?}")
        };
        let ranges = sync.ranges.iter();
        (
            sync.id,
            ranges
                .map(|it| (it.conversation_id.clone(), it.after_seq))
                .collect(),
        )
    }

    fn answer_sync(
        &mut self,
        id: u32,
        conversation: &str,
        seqs: std::ops::RangeInclusive<u64>,
        head_seq: u64,
    ) {
        let result = RangeResult {
            conversation_id: conversation.to_owned(),
            has_more: *seqs.end() < head_seq,
            events: seqs.map(|it| raw(conversation, it)).collect(),
            head_seq,
            floor_seq: 1,
            error: None,
        };
        let answer = ReadRangesResponse {
            ranges: vec![result],
        };
        self.reply(id, "flare.storage.v1.ReadRangesResponse", &answer);
    }

    fn send(&mut self, target: Target, text: &str) -> oneshot::Receiver<Result<Sent, SendError>> {
        let (outcome, answer) = oneshot::channel();
        let content = crate::draft::Draft::text(target.clone(), text).content;
        self.core.submit(Command {
            target,
            action: Action::Send(content),
            client_id: None,
            trace_id: String::new(),
            deadline_ms: self.now_ms + 60_000,
            outcome: Some(outcome),
            _permit: Permits::new(1, 1).take(0).unwrap(),
        });
        answer
    }

    fn said_sends(&mut self) -> Vec<client::Send> {
        self.says()
            .into_iter()
            .filter_map(|it| match it {
                Frame::Send(send) => Some(send),
                _ => None,
            })
            .collect()
    }

    /// The seqs of a conversation that its consumer is told now, with how they came.
    fn told(&mut self, conversation: &str) -> Vec<(u64, Via)> {
        self.happened()
            .into_iter()
            .filter_map(|it| match it {
                Event::Conversation(it) if it.header.conversation_id == conversation => {
                    Some((it.header.seq, it.via))
                }
                _ => None,
            })
            .collect()
    }

    fn happened(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_next()).collect()
    }
}

fn raw(conversation: &str, seq: u64) -> bytes::Bytes {
    let created = MessageCreated {
        content: crate::draft::Draft::text(Target::user("x"), seq.to_string()).content,
    };
    let event = flare_proto::message::Event {
        header: Some(EventHeader {
            conversation_id: conversation.to_owned(),
            seq,
            sender_id: "bob".to_owned(),
            ..EventHeader::default()
        }),
        body: EventBody {
            body: Some(Body::MessageCreated(created)),
        }
        .encode_to_vec()
        .into(),
    };
    event.encode_to_vec().into()
}

fn deliver(conversation: &str, seqs: impl IntoIterator<Item = u64>) -> ServerFrame {
    ServerFrame::Deliver(Deliver {
        events: seqs.into_iter().map(|it| raw(conversation, it)).collect(),
    })
}

fn ack(send: &client::Send, conversation: &str, seq: u64) -> ServerFrame {
    ServerFrame::SendAck(SendAck {
        id: send.id,
        client_id: send.client_id.clone(),
        conversation_id: conversation.to_owned(),
        message_id: format!("m{seq}"),
        seq,
        ..SendAck::default()
    })
}

fn error(id: u32, code: ErrorCode, server_time_ms: i64) -> ServerFrame {
    ServerFrame::Error(ErrorFrame {
        id,
        error: Some(Error {
            code: code.into(),
            server_time_ms,
            ..Error::default()
        }),
        ..ErrorFrame::default()
    })
}
