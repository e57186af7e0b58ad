//! What is wrong with a configuration, all of it at once.

use std::fmt;

use super::section::Section;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, variable or argument that said it; `default` if nobody did.
    pub origin: String,
    /// The key, with dots; empty if it is the whole file, variable or argument.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Mistake {
    /// Whether the value at `key` may be as it is for this: it is wrong, part of it is, or a whole layer could not be read.
    pub(super) fn touches(&self, key: &str) -> bool {
        let below = self.key.strip_prefix(key);
        self.key.is_empty() || below.is_some_and(|it| it.is_empty() || it.starts_with('.'))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a configuration, one line each. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMistakes(pub Vec<Mistake>);

impl fmt::Display for ConfigMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = if self.0.len() == 1 {
            "mistake"
        } else {
            "mistakes"
        };
        write!(f, "{} {many} in the configuration", self.0.len())?;
        self.0.iter().try_for_each(|it| write!(f, "\n  {it}"))
    }
}

impl std::error::Error for ConfigMistakes {}

/// Gathers what a section's rules find. Keys are relative to the section that is being checked.
#[derive(Debug, Default)]
pub struct Mistakes {
    path: Vec<String>,
    found: Vec<(Vec<String>, String)>,
}

impl Mistakes {
    /// The value at `key` is wrong. The message says what would be right: the value itself is put before it.
    pub fn add(&mut self, key: &str, message: impl Into<String>) {
        let path = self
            .path
            .iter()
            .map(String::as_str)
            .chain(key.split('.'))
            .map(str::to_owned)
            .collect();
        self.found.push((path, message.into()));
    }

    /// Adds a mistake unless `holds`.
    pub fn require(&mut self, holds: bool, key: &str, message: &str) {
        if !holds {
            self.add(key, message);
        }
    }

    /// Checks what stands below `key`.
    pub fn within(&mut self, key: &str, check: impl FnOnce(&mut Self)) {
        self.path.push(key.to_owned());
        check(self);
        self.path.pop();
    }

    pub(super) fn into_found(self) -> Vec<(Vec<String>, String)> {
        self.found
    }
}

/// The keys, with dots, and messages that a section's own rules find: for its unit tests.
pub fn mistakes_of<S: Section>(section: &S) -> Vec<(String, String)> {
    let mut mistakes = Mistakes::default();
    section.validate(&mut mistakes);
    mistakes
        .found
        .into_iter()
        .map(|(path, message)| (path.join("."), message))
        .collect()
}
