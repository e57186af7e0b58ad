//! Messages of the contract with values that bytes choose: what no example says and no change of one comes to.

use std::slice::Iter;

use flare_proto::descriptor_pool;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

/// So many messages stand in one another, at most.
const DEEPEST: u8 = 6;
/// The longest list.
const MOST_ELEMENTS: u8 = 4;
const NUMBERS: [i64; 8] = [0, 1, 2, 7, 1 << 31, (1 << 53) + 1, -1, i64::MIN];
const REALS: [f64; 8] = [
    0.0,
    -0.0,
    1.5,
    0.1,
    f64::MAX,
    f64::MIN_POSITIVE,
    f64::NAN,
    f64::NEG_INFINITY,
];
const TEXTS: [&str; 10] = [
    "",
    "a",
    "team",
    "alice",
    "default",
    "flare:1",
    "组",
    "\0",
    "\u{202e}\"<",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
];

/// The encoded message of this name that these bytes choose. Fewer bytes choose a smaller one, none the empty one.
///
/// # Panics
/// If the contract has no message of this name.
pub fn message(name: &str, choices: &[u8]) -> Vec<u8> {
    let kind = descriptor_pool().get_message_by_name(name);
    let kind = kind.expect("a message of the contract");
    Choices(choices.iter()).message(&kind, 0).encode_to_vec()
}

/// What is left to choose by.
struct Choices<'a>(Iter<'a, u8>);

impl Choices<'_> {
    /// A number below `n`; 0 once nothing is left.
    fn below(&mut self, n: u8) -> u8 {
        self.0.next().map_or(0, |it| it % n)
    }

    fn one_of<T: Copy, const N: usize>(&mut self, of: &[T; N]) -> T {
        let most = u8::try_from(N).expect("few");
        of[usize::from(self.below(most))]
    }

    fn message(&mut self, kind: &MessageDescriptor, depth: u8) -> DynamicMessage {
        let mut message = DynamicMessage::new(kind.clone());
        for field in kind.fields() {
            if self.below(3) == 0 {
                continue;
            }
            if let Some(value) = self.field(&field, depth) {
                message.set_field(&field, value);
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor, depth: u8) -> Option<Value> {
        if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let key = match self.value(&entry.map_entry_key_field().kind(), depth)? {
                Value::String(it) => MapKey::String(it),
                Value::I32(it) => MapKey::I32(it),
                Value::I64(it) => MapKey::I64(it),
                Value::U32(it) => MapKey::U32(it),
                Value::U64(it) => MapKey::U64(it),
                Value::Bool(it) => MapKey::Bool(it),
                _ => return None,
            };
            let value = self.value(&entry.map_entry_value_field().kind(), depth)?;
            return Some(Value::Map([(key, value)].into()));
        }
        if field.is_list() {
            let count = self.below(MOST_ELEMENTS);
            let values = (0..count).map(|_| self.value(&field.kind(), depth));
            return values.collect::<Option<_>>().map(Value::List);
        }
        self.value(&field.kind(), depth)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "any number will do"
    )]
    fn value(&mut self, kind: &Kind, depth: u8) -> Option<Value> {
        Some(match kind {
            Kind::Message(_) if depth == DEEPEST => return None,
            Kind::Message(kind) => Value::Message(self.message(kind, depth + 1)),
            Kind::Enum(_) => Value::EnumNumber(i32::from(self.below(24)) - 1),
            Kind::Bool => Value::Bool(self.below(2) == 1),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(self.text().into_bytes().into()),
            Kind::Double => Value::F64(self.one_of(&REALS)),
            Kind::Float => Value::F32(self.one_of(&REALS) as f32),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.one_of(&NUMBERS) as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.one_of(&NUMBERS)),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.one_of(&NUMBERS) as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.one_of(&NUMBERS) as u64),
        })
    }

    /// One of the texts, sometimes so often that it is too long for an id.
    fn text(&mut self) -> String {
        let text = self.one_of(&TEXTS);
        match self.below(8) {
            7 => text.repeat(80),
            _ => text.to_owned(),
        }
    }
}
