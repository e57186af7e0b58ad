//! What a decoder is here: a function that judges one, examples to begin with, and what it may take.

use std::{fs, io, path::Path, sync::Once};

use crate::DECODERS;

/// What a decoder may take in memory whatever it reads: tables, answers, a store of its own.
const BASE_BYTES: u64 = 4 * 1024 * 1024;
/// And beside it for each byte that it reads. An empty message of two bytes becomes a struct of some hundred.
const FACTOR: u64 = 512;
/// The same for JSON, whose messages are built by their descriptions.
const JSON_FACTOR: u64 = 4_096;
/// The longest input of a fuzzer, if the decoder says nothing else.
const MOST_BYTES: usize = 4 * 1024;

/// One decoder.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    /// Its name, and that of its target in `fuzz/`.
    pub name: &'static str,
    /// Lets it read any bytes, and panics if it breaks its word.
    pub judge: fn(&[u8]),
    /// Inputs that it takes for good.
    pub corpus: fn() -> Vec<Vec<u8>>,
    /// The longest input that a fuzzer should try.
    pub most_bytes: usize,
    factor: u64,
}

/// The decoder of this name.
pub fn decoder(name: &str) -> Option<&'static Decoder> {
    DECODERS.iter().find(|it| it.name == name)
}

impl Decoder {
    pub(crate) const fn new(
        name: &'static str,
        judge: fn(&[u8]),
        corpus: fn() -> Vec<Vec<u8>>,
    ) -> Self {
        Self {
            name,
            judge,
            corpus,
            most_bytes: MOST_BYTES,
            factor: FACTOR,
        }
    }

    pub(crate) const fn of_json(self) -> Self {
        Self {
            factor: JSON_FACTOR,
            ..self
        }
    }

    pub(crate) const fn taking_at_most(self, most_bytes: usize) -> Self {
        Self { most_bytes, ..self }
    }

    /// Judges it by these bytes, its memory included. Panics if it breaks its word.
    pub fn run(&self, bytes: &[u8]) {
        /// Of the decoders that have been used.
        static USED: [Once; DECODERS.len()] = [const { Once::new() }; DECODERS.len()];
        let place = DECODERS.iter().position(|it| it.name == self.name);
        if let Some(used) = place.and_then(|it| USED.get(it)) {
            used.call_once_force(|_| self.warm_up());
        }
        let used = allocation_counter::measure(|| (self.judge)(bytes)).bytes_max;
        let most = BASE_BYTES + self.factor * bytes.len() as u64;
        assert!(
            used <= most,
            "{} took {used} bytes of memory for an input of {}, at most {most} are allowed",
            self.name,
            bytes.len()
        );
    }

    /// Judges its examples without counting: what is made once, such as the contract's description, is there afterwards.
    fn warm_up(&self) {
        for example in (self.corpus)() {
            (self.judge)(&example);
        }
    }

    /// Writes its examples as files into a folder.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_corpus(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for (number, example) in (self.corpus)().iter().enumerate() {
            fs::write(folder.join(format!("example-{number:03}")), example)?;
        }
        Ok(())
    }
}
