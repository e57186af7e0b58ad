//! Messages of the contract as JSON schemas.

use std::collections::{BTreeMap, BTreeSet};

use flare_proto::descriptor_pool;
use flare_server_core::error::Refusal;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::{
    comments::comment,
    rules::{Rule, rule},
};

/// What a schema is of. Requests have to be as the rules say; answers hold what was taken at any time, and what a later server adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// What a caller sends.
    Request,
    /// What he gets.
    Answer,
}

impl Side {
    fn rule(self, field: &FieldDescriptor) -> Rule {
        match self {
            Self::Request => rule(field),
            Self::Answer => Rule::default(),
        }
    }
}

/// What a request's body is.
pub(super) struct Body {
    /// Whether a request without one is refused.
    pub(super) is_required: bool,
    /// Its schema.
    pub(super) schema: Value,
    /// One that is taken.
    pub(super) example: Map<String, Value>,
}

/// Filled by the server, so not shown.
const CONTEXT: &str = "flare.common.v1.RequestContext";
const READ_RANGE: &str = "flare.storage.v1.ReadRange";
const SEND: &str = "flare.gateway.v1.SendMessageRequest";
const CONTENT: &str = "flare.message.v1.Content";
/// Shows a kind of content that the server does not know.
const UNKNOWN: &str = "unknown";
/// With padding, and without stray bits in the last character.
const BASE64: &str =
    "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
/// Ends the name of what stands in answers too, where it is about requests.
const INPUT: &str = "Input";
const PACKAGE_PREFIX: &str = "flare.";

/// The schemas that were referred to, and whatever they refer to.
#[derive(Default)]
pub(super) struct Schemas {
    made: BTreeMap<String, Value>,
    begun: BTreeSet<String>,
}

impl Schemas {
    /// All of them, by name.
    pub(super) fn finish(self) -> Map<String, Value> {
        self.made.into_iter().collect()
    }

    pub(super) fn reference_to(&mut self, full_name: &str) -> Result<Value, Refusal> {
        let message = descriptor_pool()
            .get_message_by_name(full_name)
            .ok_or_else(|| Refusal::internal(format!("the contract has no message {full_name}")))?;
        Ok(self.reference(&message, Side::Answer))
    }

    /// A reference to a message's schema.
    pub(super) fn reference(&mut self, message: &MessageDescriptor, side: Side) -> Value {
        let mut name = component(message.full_name());
        if side == Side::Request && !is_request(message) {
            name.push_str(INPUT);
        }
        if self.begun.insert(name.clone()) {
            let schema = self.object(message, &[], side);
            self.made.insert(name.clone(), schema);
        }
        reference(&name)
    }

    /// What a request's body is, without the fields that the path gives.
    pub(super) fn body_without(&mut self, message: &MessageDescriptor, without: &[&str]) -> Body {
        let mut body = Body {
            is_required: false,
            schema: self.object(message, without, Side::Request),
            example: Map::new(),
        };
        for field in shown(message, without, Side::Request) {
            let rule = rule(&field);
            body.is_required |= rule.is_required;
            if let Some(value) = rule.example {
                body.example.insert(field.json_name().to_owned(), value);
            }
        }
        body
    }

    fn object(&mut self, message: &MessageDescriptor, without: &[&str], side: Side) -> Value {
        let mut properties = Map::new();
        let mut object = Object {
            required: Vec::new(),
            is_closed: side == Side::Request,
        };
        for field in shown(message, without, side) {
            let name = field.json_name().to_owned();
            if side.rule(&field).is_required {
                object.required.push(name.clone());
            }
            properties.insert(name, self.property(&field, side));
        }
        let exclusive = match side {
            Side::Request => exclusive(message),
            Side::Answer => Vec::new(),
        };
        let mut schema = if exclusive.is_empty() {
            object.of(properties)
        } else {
            object.each_of(&exclusive, properties)
        };
        let said = comment(
            message.parent_file().file_descriptor_proto(),
            message.path(),
        );
        if !said.is_empty() {
            schema["description"] = Value::String(said);
        }
        schema
    }

    fn property(&mut self, field: &FieldDescriptor, side: Side) -> Value {
        let value = self.value(field, side);
        let mut schema = if field.is_list() {
            let mut list = json!({"type": "array", "items": value});
            merge(&mut list, side.rule(field).of_list);
            list
        } else {
            value
        };
        let said = said_of(field);
        if !said.is_empty() {
            schema["description"] = Value::String(said);
        }
        schema
    }

    /// The schema of one value of a field: its type, and in requests what is said of it beyond.
    pub(super) fn value(&mut self, field: &FieldDescriptor, side: Side) -> Value {
        let mut schema = self.type_of(field, side);
        merge(&mut schema, side.rule(field).of_value);
        schema
    }

    /// As proto3 JSON has it.
    fn type_of(&mut self, field: &FieldDescriptor, side: Side) -> Value {
        match field.kind() {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => {
                json!({"type": "string", "contentEncoding": "base64", "pattern": BASE64})
            }
            Kind::Float | Kind::Double => json!({"type": "number"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "format": "int32"})
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({"type": "integer", "minimum": 0, "maximum": u32::MAX})
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({"type": "string", "format": "int64"})
            }
            Kind::Uint64 | Kind::Fixed64 => json!({"type": "string", "format": "uint64"}),
            Kind::Enum(it) => self.enumeration(&it),
            Kind::Message(it) => self.reference(&it, side),
        }
    }

    fn enumeration(&mut self, it: &EnumDescriptor) -> Value {
        let name = component(it.full_name());
        if self.begun.insert(name.clone()) {
            let values: Vec<_> = it.values().map(|it| it.name().to_owned()).collect();
            let mut schema = json!({"type": "string", "enum": values});
            let mut said = comment(it.parent_file().file_descriptor_proto(), it.path());
            for value in it.values() {
                let of_value = comment(it.parent_file().file_descriptor_proto(), value.path());
                if !of_value.is_empty() {
                    said.push_str(&format!("\n- `{}`: {of_value}", value.name()));
                }
            }
            if !said.is_empty() {
                schema["description"] = Value::String(said.trim().to_owned());
            }
            self.made.insert(name.clone(), schema);
        }
        reference(&name)
    }
}

/// The fields of a message without some of them, and in a request without those that the server fills.
fn shown(message: &MessageDescriptor, without: &[&str], side: Side) -> Vec<FieldDescriptor> {
    let is_content = message.full_name() == CONTENT;
    let is_filled = |field: &FieldDescriptor| match field.kind() {
        Kind::Message(it) if it.full_name() == CONTEXT => true,
        _ => side == Side::Request && is_content && field.name() == UNKNOWN,
    };
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.retain(|it| !is_filled(it) && !without.contains(&it.name()));
    fields
}

/// Whether a message stands in requests alone.
fn is_request(message: &MessageDescriptor) -> bool {
    message.name().ends_with("Request") || message.full_name() == READ_RANGE
}

/// The fields of which there is exactly one in a request: the kinds of a content, and to whom a message goes. Empty: it has none such.
fn exclusive(message: &MessageDescriptor) -> Vec<String> {
    let fields: Vec<FieldDescriptor> = match message.full_name() {
        CONTENT => message
            .oneofs()
            .flat_map(|it| it.fields().collect::<Vec<_>>())
            .collect(),
        SEND => ["conversation_id", "user_id"]
            .into_iter()
            .filter_map(|it| message.get_field_by_name(it))
            .collect(),
        _ => Vec::new(),
    };
    fields
        .into_iter()
        .map(|it| it.json_name().to_owned())
        .collect()
}

/// The contract's comment on a field, and what it is one of.
pub(super) fn said_of(field: &FieldDescriptor) -> String {
    let said = comment(
        field.parent_message().parent_file().file_descriptor_proto(),
        field.path(),
    );
    // Each `optional` field has a one-of of its own, which nobody wrote.
    let one_of = field.containing_oneof().filter(|it| it.fields().len() > 1);
    let note = one_of.map(|it| format!("One of `{}`: at most one of them is there.", it.name()));
    let lines = [said, note.unwrap_or_default()];
    let lines: Vec<String> = lines.into_iter().filter(|it| !it.is_empty()).collect();
    lines.join("\n")
}

/// What an object's schema says beside its properties.
struct Object {
    /// What is needed.
    required: Vec<String>,
    /// Whether there are no other properties: a request is refused for them, an answer of a later version may have them.
    is_closed: bool,
}

impl Object {
    fn of(&self, properties: Map<String, Value>) -> Value {
        let mut schema = json!({"type": "object", "properties": properties});
        if !self.required.is_empty() {
            schema["required"] = json!(self.required);
        }
        if self.is_closed {
            schema["additionalProperties"] = Value::Bool(false);
        }
        schema
    }

    /// A schema for each of the exclusive properties, with whatever is none of them.
    fn each_of(&self, exclusive: &[String], properties: Map<String, Value>) -> Value {
        let (exclusive, common): (Map<_, _>, Map<_, _>) = properties
            .into_iter()
            .partition(|(name, _)| exclusive.contains(name));
        let each = exclusive.into_iter().map(|(name, value)| {
            let mut required = self.required.clone();
            required.push(name.clone());
            let mut properties = common.clone();
            properties.insert(name.clone(), value);
            let is_closed = self.is_closed;
            let mut schema = Self {
                required,
                is_closed,
            }
            .of(properties);
            schema["title"] = Value::String(name);
            schema
        });
        json!({"oneOf": each.collect::<Vec<_>>()})
    }
}

fn merge(schema: &mut Value, keywords: Value) {
    if let (Value::Object(schema), Value::Object(keywords)) = (schema, keywords) {
        schema.extend(keywords);
    }
}

/// "flare.session.v1.Conversation" is shown as "session.v1.Conversation".
fn component(full_name: &str) -> String {
    full_name
        .strip_prefix(PACKAGE_PREFIX)
        .unwrap_or(full_name)
        .to_owned()
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}
