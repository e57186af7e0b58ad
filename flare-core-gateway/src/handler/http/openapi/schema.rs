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

/// What a request's body is.
pub(super) struct Body {
    /// Whether a request without one is refused.
    pub(super) is_required: bool,
    /// Its schema.
    pub(super) schema: Value,
    /// One that is taken.
    pub(super) example: Value,
}

/// Filled by the server, so not shown.
const CONTEXT: &str = "flare.common.v1.RequestContext";
const READ_RANGE: &str = "flare.storage.v1.ReadRange";
const SEND: &str = "flare.gateway.v1.SendMessageRequest";
const CONTENT: &str = "flare.message.v1.Content";
/// Shows a kind of content that the server does not know.
const UNKNOWN: &str = "unknown";
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
        Ok(self.reference(&message))
    }

    /// A reference to a message's schema.
    pub(super) fn reference(&mut self, message: &MessageDescriptor) -> Value {
        let name = component(message.full_name());
        if self.begun.insert(name.clone()) {
            let schema = self.object(message, &[]);
            self.made.insert(name.clone(), schema);
        }
        reference(&name)
    }

    /// What a request's body is: its schema without some of its fields, whether one is needed, and one that is taken.
    pub(super) fn body_without(&mut self, message: &MessageDescriptor, without: &[&str]) -> Body {
        let schema = self.object(message, without);
        let mut example = Map::new();
        for field in shown(message, without) {
            if let Some(value) = rule(&field).example {
                example.insert(field.json_name().to_owned(), value);
            }
        }
        Body {
            is_required: shown(message, without)
                .iter()
                .any(|it| rule(it).is_required),
            schema,
            example: Value::Object(example),
        }
    }

    fn object(&mut self, message: &MessageDescriptor, without: &[&str]) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in shown(message, without) {
            let name = field.json_name().to_owned();
            if rule(&field).is_required {
                required.push(name.clone());
            }
            properties.insert(name, self.property(&field));
        }
        let object = Object {
            required,
            is_closed: is_request(message),
        };
        let exclusive = exclusive(message);
        let mut schema = if exclusive.is_empty() {
            object.of(properties)
        } else {
            alternatives(&exclusive, properties, &object)
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

    fn property(&mut self, field: &FieldDescriptor) -> Value {
        let value = self.value(field);
        let mut schema = if field.is_list() {
            let mut list = json!({"type": "array", "items": value});
            merge(&mut list, rule(field).of_list);
            list
        } else {
            value
        };
        let mut said = comment(
            field.parent_message().parent_file().file_descriptor_proto(),
            field.path(),
        );
        // Each `optional` field has a one-of of its own, which nobody wrote.
        if let Some(one_of) = field.containing_oneof().filter(|it| it.fields().len() > 1) {
            let note = format!("One of `{}`: at most one of them is there.", one_of.name());
            said = [said, note]
                .into_iter()
                .filter(|it| !it.is_empty())
                .collect::<Vec<_>>()
                .join("\n");
        }
        if !said.is_empty() {
            schema["description"] = Value::String(said);
        }
        schema
    }

    /// The schema of one value of a field: its type, and what is said of it beyond.
    pub(super) fn value(&mut self, field: &FieldDescriptor) -> Value {
        let mut schema = self.type_of(field);
        let Rule { of_value, .. } = rule(field);
        merge(&mut schema, of_value);
        schema
    }

    /// As proto3 JSON has it.
    fn type_of(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
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
            Kind::Message(it) => self.reference(&it),
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

/// The fields of a message but some, and but the context.
fn shown(message: &MessageDescriptor, without: &[&str]) -> Vec<FieldDescriptor> {
    message
        .fields()
        .filter(|field| {
            !without.contains(&field.name())
                && !matches!(field.kind(), Kind::Message(it) if it.full_name() == CONTEXT)
        })
        .collect()
}

/// Whether a message stands in requests alone, so that fields which it has not are refused.
fn is_request(message: &MessageDescriptor) -> bool {
    message.name().ends_with("Request") || message.full_name() == READ_RANGE
}

/// The fields of a message of which there is exactly one: the kinds of a content, and to whom a message goes. Empty: it has none such.
fn exclusive(message: &MessageDescriptor) -> Vec<String> {
    let fields: Vec<FieldDescriptor> = match message.full_name() {
        CONTENT => {
            let kinds = message
                .oneofs()
                .flat_map(|it| it.fields().collect::<Vec<_>>());
            kinds.chain(message.get_field_by_name(UNKNOWN)).collect()
        }
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

/// A schema for each of the exclusive fields, with whatever is none of them.
fn alternatives(exclusive: &[String], properties: Map<String, Value>, object: &Object) -> Value {
    let (exclusive, common): (Map<_, _>, Map<_, _>) = properties
        .into_iter()
        .partition(|(name, _)| exclusive.contains(name));
    let each = exclusive.into_iter().map(|(name, field)| {
        let mut required = object.required.clone();
        required.push(name.clone());
        let mut properties = common.clone();
        properties.insert(name.clone(), field);
        let mut schema = Object {
            required,
            is_closed: object.is_closed,
        }
        .of(properties);
        schema["title"] = Value::String(name);
        schema
    });
    json!({"oneOf": each.collect::<Vec<_>>()})
}

/// What an object's schema says beside its properties.
struct Object {
    /// What is needed.
    required: Vec<String>,
    /// Whether it has no other properties.
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
