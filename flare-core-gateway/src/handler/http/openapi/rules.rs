//! What the contract's types leave unsaid of a request's fields: which of them are needed, which values they take, and one that answers on the
//! demo data of `flare up`.

use prost_reflect::FieldDescriptor;
use serde_json::{Value, json};

use crate::{
    application::api_keys::MAX_PAGE,
    domain::{api_key::MAX_NAME_CHARS, scope::Scope},
    handler::calls::{MAX_BATCH, MAX_REASON_CHARS},
};

/// `flare_proto::ids` says these in words, and checks them.
const ID: &str = r"(?!\.{1,2}$)[A-Za-z0-9._:@+=~-]{1,64}";
const GROUP_ID: &str = r"(?!d_|\.{1,2}$)[A-Za-z0-9._:@+=~-]{1,64}";
const CONVERSATION_ID: &str = r"(d_[a-z2-7]{26}|(?!d_|\.{1,2}$)[A-Za-z0-9._:@+=~-]{1,64})";
const CLIENT_ID: &str = r"(?!flare:|\.{1,2}$)[A-Za-z0-9._:@+=~-]{1,64}";
const ULID: &str = "[0-7][0-9A-HJKMNP-TV-Z]{25}";
const NO_CONTROL_CHARACTERS: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// Seqs are below 2^53.
const SEQ: &str = "^[1-9][0-9]{0,14}$";
const SEQ_OR_ZERO: &str = "^(0|[1-9][0-9]{0,14})$";

/// Most users of one question for presence.
const MAX_USERS: usize = 200;

/// What is said of one field.
#[derive(Debug, Default)]
pub(super) struct Rule {
    /// Whether a request without it is refused.
    pub(super) is_required: bool,
    /// Beside the type of a value, or of each element of a list.
    pub(super) of_value: Value,
    /// Beside the type of a list.
    pub(super) of_list: Value,
    /// A value that is taken. Those of one request go together.
    pub(super) example: Option<Value>,
}

impl Rule {
    fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    fn such_as(mut self, example: impl Into<Value>) -> Self {
        self.example = Some(example.into());
        self
    }

    fn list(mut self, keywords: Value) -> Self {
        self.of_list = keywords;
        self
    }
}

fn takes(keywords: Value) -> Rule {
    Rule {
        of_value: keywords,
        ..Rule::default()
    }
}

fn id(pattern: &str) -> Rule {
    takes(json!({"pattern": format!("^{pattern}$")})).required()
}

/// Empty is as good as absent.
fn optional_id(pattern: &str) -> Rule {
    takes(json!({"pattern": format!("^({pattern})?$")}))
}

/// What is said of a field of a request, or of what stands in one.
pub(super) fn rule(field: &FieldDescriptor) -> Rule {
    let message = field.parent_message();
    match (message.name(), field.name()) {
        ("Text" | "Quote" | "Notice", "text")
        | ("Image" | "Audio" | "Video" | "File", "url")
        | ("Custom", "type") => takes(json!({"minLength": 1})).required(),
        ("Forward", "messages") => Rule::default().required().list(json!({"minItems": 1})),
        ("Mention", "user_id") => id(ID),
        ("ReadRange", name) => of_request("ReadRange", name),
        (request, name) if request.ends_with("Request") => of_request(request, name),
        _ => Rule::default(),
    }
}

fn of_request(request: &str, field: &str) -> Rule {
    match (request, field) {
        (_, "client_id") => id(CLIENT_ID).such_as("order-4711"),
        ("SendMessageRequest", "conversation_id") => Rule {
            is_required: false,
            ..id(CONVERSATION_ID).such_as("welcome")
        },
        ("SendMessageRequest", "user_id") => Rule {
            is_required: false,
            ..id(ID)
        },
        ("CreateConversationRequest", "conversation_id") => optional_id(GROUP_ID),
        (_, "conversation_id") => id(CONVERSATION_ID).such_as("welcome"),
        ("SendMessageRequest", "sender_id") | ("CreateConversationRequest", "owner_id") => {
            optional_id(ID)
        }
        (_, "user_id") => id(ID).such_as("bob"),
        ("AddMembersRequest", "user_ids") => id(ID)
            .list(json!({"minItems": 1}))
            .such_as(json!(["dave"])),
        (_, "user_ids") => id(ID)
            .list(json!({"minItems": 1, "maxItems": MAX_USERS}))
            .such_as(json!(["bob", "carol"])),
        (_, "member_ids") => Rule {
            is_required: false,
            ..id(ID).such_as(json!(["bob", "carol"]))
        },
        ("CreateConversationRequest", "class") => {
            takes(json!({"enum": ["GROUP", "LARGE"]})).such_as("GROUP")
        }
        (_, "device_id") => optional_id(ID),
        (_, "title") => takes(json!({"pattern": NO_CONTROL_CHARACTERS})).such_as("Release"),
        (_, "role") => takes(json!({"enum": ["ADMIN", "MEMBER"]}))
            .required()
            .such_as("ADMIN"),
        (_, "content") => Rule::default()
            .required()
            .such_as(json!({"text": {"text": "Hello"}})),
        (_, "messages") => Rule::default()
            .required()
            .list(json!({"minItems": 1, "maxItems": MAX_BATCH}))
            .such_as(json!([{
                "conversationId": "welcome", "clientId": "order-4712", "content": {"text": {"text": "Hello, all"}},
            }])),
        (_, "ranges") => Rule::default()
            .required()
            .list(json!({"minItems": 1}))
            .such_as(json!([{"conversationId": "welcome", "afterSeq": "0"}])),
        (_, "seq") => takes(json!({"pattern": SEQ})).required().such_as("1"),
        ("ReadRange", "after_seq") => takes(json!({"pattern": SEQ_OR_ZERO})).such_as("0"),
        (_, "before_seq" | "after_seq" | "around_seq") => takes(json!({"pattern": SEQ_OR_ZERO})),
        (_, "page_size" | "limit") => {
            takes(json!({"minimum": 1, "maximum": MAX_PAGE})).such_as(20)
        }
        (_, "mute_until_ms") => takes(json!({"pattern": "^(-1|0|[1-9][0-9]{0,14})$"})).such_as("-1"),
        (_, "pinned") => Rule::default().such_as(true),
        (_, "reason") => takes(json!({
            "maxLength": MAX_REASON_CHARS, "pattern": NO_CONTROL_CHARACTERS,
        }))
        .such_as("Maintenance"),
        (_, "message_id") => id(ULID).such_as("01JD8X2M5ZQ4Y7V3K9T6W1B0NC"),
        (_, "key_id") => id(ULID).such_as("01JD8X2M5ZQ4Y7V3K9T6W1B0ND"),
        (_, "name") => takes(json!({
            "minLength": 1, "maxLength": MAX_NAME_CHARS, "pattern": NO_CONTROL_CHARACTERS,
        }))
        .required()
        .such_as("order service"),
        (_, "scopes") => takes(json!({"enum": Scope::ALL.map(Scope::name)}))
            .required()
            .list(json!({"minItems": 1}))
            .such_as(json!(["send", "read"])),
        _ => Rule::default(),
    }
}
