//! Messages of the contract as JSON schemas.

use std::collections::{BTreeMap, BTreeSet};

use flare_proto::descriptor_pool;
use flare_server_core::error::Refusal;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::comments::comment;

/// Filled by the server, so not shown.
const CONTEXT: &str = "flare.common.v1.RequestContext";
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
            let schema = self.object_without(message, &[]);
            self.made.insert(name.clone(), schema);
        }
        reference(&name)
    }

    /// A message's schema without some of its fields, and without the context.
    pub(super) fn object_without(
        &mut self,
        message: &MessageDescriptor,
        without: &[&str],
    ) -> Value {
        let mut properties = Map::new();
        for field in message.fields() {
            let is_context = matches!(field.kind(), Kind::Message(it) if it.full_name() == CONTEXT);
            if is_context || without.contains(&field.name()) {
                continue;
            }
            properties.insert(field.json_name().to_owned(), self.property(&field));
        }
        let mut schema = json!({"type": "object", "properties": properties});
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
            json!({"type": "array", "items": value})
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

    /// The schema of one value of a field, as proto3 JSON has it.
    pub(super) fn value(&mut self, field: &FieldDescriptor) -> Value {
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
