use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::log_file::{FileLayer, LogError, read_full, write_full};

const SUFFIX: &str = ".cursor";
const MAGIC: &str = "flare-cursor 1";
/// The longest line that is a cursor, in bytes.
const LIMIT: u64 = 128;

/// A position in a file of one line, `flare-cursor 1 <position> <CRC-32C of what is before it>`,
/// which is replaced as a whole: after a crash it is one that was stored.
pub(super) struct CursorFile {
    layer: Arc<dyn FileLayer>,
    folder: PathBuf,
    path: PathBuf,
}

impl CursorFile {
    pub(super) fn new(layer: Arc<dyn FileLayer>, folder: &Path, group: &str) -> Self {
        let path = folder.join(format!("{group}{SUFFIX}"));
        Self {
            layer,
            folder: folder.to_path_buf(),
            path,
        }
    }

    /// The group whose cursor a file of this name is.
    pub(super) fn group_of(name: &str) -> Option<&str> {
        name.strip_suffix(SUFFIX)
    }

    /// Where the cursor is kept, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn load(&self) -> Result<u64, LogError> {
        let text = self
            .text()
            .map_err(|error| LogError::io("read", &self.path, error))?;
        parse(&text).ok_or_else(|| LogError::Damaged {
            file: self.path.clone(),
            byte: 0,
            reason: "it is not a cursor".to_owned(),
        })
    }

    /// Returns when the position is durable.
    pub(super) fn store(&self, position: u64) -> Result<(), LogError> {
        self.replace(&line(position))
            .map_err(|error| LogError::io("replace", &self.path, error))
    }

    /// Returns when the file is gone for good.
    pub(super) fn remove(&self) -> Result<(), LogError> {
        let removed = self
            .layer
            .remove(&self.path)
            .and_then(|()| self.layer.sync_folder(&self.folder));
        removed.map_err(|error| LogError::io("remove", &self.path, error))
    }

    fn replace(&self, line: &str) -> io::Result<()> {
        let temporary = self.path.with_added_extension("tmp");
        let file = self.layer.create(&temporary, 0)?;
        write_full(&*file, line.as_bytes(), 0)?;
        file.sync()?;
        self.layer.rename(&temporary, &self.path)?;
        self.layer.sync_folder(&self.folder)
    }

    fn text(&self) -> io::Result<Vec<u8>> {
        let file = self.layer.open(&self.path)?;
        let mut text = vec![0; file.bytes()?.min(LIMIT) as usize];
        read_full(&*file, &mut text, 0)?;
        Ok(text)
    }
}

fn line(position: u64) -> String {
    let body = format!("{MAGIC} {position} ");
    let crc = crc32c::crc32c(body.as_bytes());
    format!("{body}{crc:08x}\n")
}

fn parse(text: &[u8]) -> Option<u64> {
    let text = str::from_utf8(text).ok()?;
    let position = text
        .strip_prefix(MAGIC)?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()?;
    (text == line(position)).then_some(position)
}

/// Reads any bytes as a cursor's file, and panics if one that is taken is not the line that is written for it. For the tests of decoders.
#[doc(hidden)]
pub fn judge_cursor(text: &[u8]) {
    if let Some(position) = parse(text) {
        assert_eq!(line(position).as_bytes(), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_the_line_is_noticed() {
        let good = line(1_234);
        assert_eq!(parse(good.as_bytes()), Some(1_234));
        for at in 0..good.len() {
            assert_eq!(parse(&good.as_bytes()[..at]), None);
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(parse(&bytes), None);
        }
    }
}
