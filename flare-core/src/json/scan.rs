//! Walks JSON before a message is made of it, and keeps nothing: what the message's own parser would take in silence, or at too high a price.

use std::{borrow::Cow, cell::Cell, collections::HashSet, fmt};

use prost_reflect::MessageDescriptor;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{JsonError, path};

/// Most values (objects, lists, and what is in them) of one message. The largest that anybody needs is a batch of 200 messages with 50 mentions
/// each; one value of two bytes becomes a message of some hundred in memory.
pub const MAX_VALUES: usize = 50_000;
/// From here on a float does not tell neighbouring integers apart.
const FIRST_INEXACT: f64 = 9_007_199_254_740_992.0;

/// Refuses a field that is given twice, which readers take differently; a number that is not exact; more than [`MAX_VALUES`] values.
pub(super) fn scan(descriptor: &MessageDescriptor, json: &[u8]) -> Result<(), JsonError> {
    let values = Cell::new(0);
    let mut parser = serde_json::Deserializer::from_slice(json);
    let mut track = serde_path_to_error::Track::new();
    Values(&values)
        .deserialize(serde_path_to_error::Deserializer::new(
            &mut parser,
            &mut track,
        ))
        .map_err(|error| path::explain(descriptor, &track.path(), &error))
}

/// Any value; counts itself and all within it.
#[derive(Clone, Copy)]
struct Values<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let count = self.0.get() + 1;
        if count > MAX_VALUES {
            return Err(D::Error::custom(format_args!(
                "more than {MAX_VALUES} values: ask in several requests"
            )));
        }
        self.0.set(count);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if value.abs() < FIRST_INEXACT {
            return Ok(());
        }
        Err(E::custom(
            "a number as large as this is exact without fraction and exponent only, or as a string",
        ))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut given = HashSet::new();
        while let Some(name) = fields.next_key::<Cow<'_, str>>()? {
            let is_first = given.insert(json_name(name));
            fields.next_value_seed(Field {
                values: self,
                is_first,
            })?;
        }
        Ok(())
    }
}

/// A field's value; an error within it names the field.
struct Field<'a> {
    values: Values<'a>,
    is_first: bool,
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.is_first {
            return Err(D::Error::custom("given twice"));
        }
        self.values.deserialize(deserializer)
    }
}

/// A field has two names, `user_id` and `userId`: the latter, of either.
fn json_name(name: Cow<'_, str>) -> Cow<'_, str> {
    if !name.contains('_') {
        return name;
    }
    let mut written = String::with_capacity(name.len());
    let mut after_underscore = false;
    for character in name.chars() {
        if character == '_' {
            after_underscore = true;
        } else if std::mem::take(&mut after_underscore) {
            written.push(character.to_ascii_uppercase());
        } else {
            written.push(character);
        }
    }
    Cow::Owned(written)
}
