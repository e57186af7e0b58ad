//! Texts by number: a history repeats a few names and holds millions of ids, and both are compared far oftener than shown.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// The number of a text in one [`Interner`].
pub(crate) type TextId = u32;

/// No text.
pub(crate) const NO_TEXT: TextId = TextId::MAX;

/// Each text once, end to end in one buffer.
#[derive(Default)]
pub(crate) struct Interner {
    text: String,
    ends: Vec<usize>,
    table: HashTable<TextId>,
    hasher: DefaultHashBuilder,
}

impl Interner {
    /// The text's number; numbers are given out from 0 on, without holes.
    pub(crate) fn intern(&mut self, text: &str) -> TextId {
        let hash = self.hasher.hash_one(text);
        if let Some(&id) = self
            .table
            .find(hash, |&id| text_of(&self.text, &self.ends, id) == text)
        {
            return id;
        }
        // 2^32 distinct texts would need more memory than the texts of any history that fits a machine; the last number means "none".
        let id = TextId::try_from(self.ends.len()).unwrap_or(NO_TEXT);
        self.text.push_str(text);
        self.ends.push(self.text.len());
        let Self {
            text,
            ends,
            table,
            hasher,
        } = self;
        table.insert_unique(hash, id, |&id| hasher.hash_one(text_of(text, ends, id)));
        id
    }

    pub(crate) fn find(&self, text: &str) -> Option<TextId> {
        let hash = self.hasher.hash_one(text);
        self.table.find(hash, |&id| self.get(id) == text).copied()
    }

    /// The text of a number; `-` for [`NO_TEXT`].
    pub(crate) fn get(&self, id: TextId) -> &str {
        text_of(&self.text, &self.ends, id)
    }
}

fn text_of<'a>(text: &'a str, ends: &[usize], id: TextId) -> &'a str {
    let at = id as usize;
    let Some(&end) = ends.get(at) else { return "-" };
    let start = if at == 0 { 0 } else { ends[at - 1] };
    &text[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_each_text_one_number_and_gives_it_back() {
        let mut interner = Interner::default();
        let ids: Vec<_> = (0..1_000)
            .map(|n| interner.intern(&format!("text {n}")))
            .collect();
        assert_eq!(ids, (0..1_000).collect::<Vec<_>>());
        assert_eq!(interner.intern("text 7"), 7);
        assert_eq!(interner.get(999), "text 999");
        assert_eq!(interner.find("text 500"), Some(500));
        assert_eq!(interner.find("text"), None);
        assert_eq!(interner.get(NO_TEXT), "-");
    }

    #[test]
    fn keeps_the_empty_text_apart_from_none() {
        let mut interner = Interner::default();
        let empty = interner.intern("");
        assert_eq!(interner.get(empty), "");
        assert_ne!(empty, NO_TEXT);
    }
}
