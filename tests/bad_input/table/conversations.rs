//! Conversations that one is not in, or no more, or that are no more.

use flare_proto::common::ErrorCode::{
    ConversationDisbanded, ConversationNotFound, NotAMember, PositionBeyondHead,
};
use serde_json::json;

use super::Row;
use crate::{
    ask::message,
    ground::{CLOSED, ENDED, Ground, LEFT, TEAM, THEIRS},
};

const SESSION: &str = "flare.session.v1.SessionService";
const READER: &str = "flare.storage.v1.StorageReaderService";

pub(super) fn rows(ground: &Ground) -> Vec<Row> {
    let send = |input, conversation: &str, code| {
        Row::new(input).send(
            ground,
            &message(conversation, "wrong-place", "hello?"),
            (code, "conversation_id"),
        )
    };
    let history = |input, conversation: &str| {
        Row::new(input).read(
            ground,
            &format!("{READER}/History"),
            &json!({"conversationId": conversation}),
            &format!("/conversations/{conversation}/messages"),
            (ConversationNotFound, "conversation_id"),
        )
    };
    let add = |input, conversation: &str, code| {
        let fields = json!({"clientId": "adds", "userIds": ["dora"]});
        let mut request = fields.clone();
        request["conversationId"] = json!(conversation);
        let path = format!("/conversations/{conversation}/members");
        Row::new(input).command(
            ground,
            &format!("{SESSION}/AddMembers"),
            &request,
            (&path, &fields),
            (code, "conversation_id"),
        )
    };
    let beyond = json!({"seq": "1000000"});
    let mut beyond_in_team = beyond.clone();
    beyond_in_team["conversationId"] = json!(TEAM);
    vec![
        send(
            "sending to a conversation that one is not in",
            CLOSED,
            ConversationNotFound,
        ),
        send(
            "sending to others' direct conversation",
            &ground.direct_of_others,
            ConversationNotFound,
        ),
        send(
            "sending to a conversation that one has left",
            LEFT,
            NotAMember,
        ),
        send(
            "sending to a conversation that is disbanded",
            ENDED,
            ConversationDisbanded,
        ),
        send(
            "sending to a conversation that is not there",
            "nowhere",
            ConversationNotFound,
        ),
        send(
            "sending to another tenant's conversation",
            THEIRS,
            ConversationNotFound,
        ),
        history("history of a conversation that one is not in", CLOSED),
        history(
            "history of others' direct conversation",
            &ground.direct_of_others,
        ),
        history("history of another tenant's conversation", THEIRS),
        add(
            "adding a member where one never was",
            CLOSED,
            ConversationNotFound,
        ),
        add("adding a member where one has left", LEFT, NotAMember),
        add(
            "adding a member to what is disbanded",
            ENDED,
            ConversationDisbanded,
        ),
        Row::new("following a conversation that one is not in")
            .frame(
                ground,
                &json!({"sync": {"id": 2, "ranges": [{"conversationId": CLOSED}]}}),
                (ConversationNotFound, "conversation_id"),
            )
            .http(
                ground,
                "GET",
                &format!("/conversations/{CLOSED}/events"),
                None,
                (ConversationNotFound, "conversation_id"),
            )
            .grpc(
                ground,
                "ReadRanges",
                &json!({"ranges": [{"conversationId": CLOSED}]}),
                (ConversationNotFound, "conversation_id"),
            ),
        Row::new("reading further than there is")
            .call(
                ground,
                &format!("{SESSION}/MarkRead"),
                &beyond_in_team,
                (PositionBeyondHead, "seq"),
            )
            .http(
                ground,
                "PUT",
                &format!("/conversations/{TEAM}/read-position"),
                Some(&beyond),
                (PositionBeyondHead, "seq"),
            )
            .grpc(
                ground,
                "MarkRead",
                &beyond_in_team,
                (PositionBeyondHead, "seq"),
            ),
    ]
}
