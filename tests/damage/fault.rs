//! What happens to a file.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::folder::{Story, files};

/// How a file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing happens to it: what the other ways are held against.
    Untouched,
    Missing,
    Empty,
    Cut,
    Flipped,
    Doubled,
    /// As it was when the server stopped the time before.
    Older,
}

impl Way {
    pub(crate) const ALL: [Self; 7] = [
        Self::Untouched,
        Self::Missing,
        Self::Empty,
        Self::Cut,
        Self::Flipped,
        Self::Doubled,
        Self::Older,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Untouched => "untouched",
            Self::Missing => "missing",
            Self::Empty => "empty",
            Self::Cut => "cut",
            Self::Flipped => "flipped",
            Self::Doubled => "doubled",
            Self::Older => "older",
        }
    }
}

/// One file, damaged once.
pub(crate) struct Case {
    way: Way,
    /// In the data folder.
    pub(crate) file: PathBuf,
    /// A byte where it is cut, or a bit that is flipped.
    at: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.way.name();
        match self.way {
            Way::Cut => write!(f, "{name} at byte {}", self.at)?,
            Way::Flipped => write!(f, "{name} at bit {}", self.at)?,
            _ => write!(f, "{name}")?,
        }
        write!(f, "  {}", self.file.display())
    }
}

/// Every file that is in the folder, with each place at which it is damaged in this way.
pub(crate) fn cases(story: &Story, way: Way, seeds: u64) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for file in files(&story.data)? {
        let content = fs::read(story.data.join(&file))?;
        let mut add = |at| {
            cases.push(Case {
                way,
                file: file.clone(),
                at,
            })
        };
        match way {
            Way::Untouched => {}
            Way::Missing => add(0),
            Way::Empty | Way::Doubled if !content.is_empty() => add(0),
            Way::Older => {
                let before = fs::read(story.older.join(&file)).ok();
                if before.is_some_and(|it| it != content) {
                    add(0);
                }
            }
            Way::Cut | Way::Flipped if !content.is_empty() => {
                for seed in 0..seeds {
                    add(place(&content, way, seed));
                }
            }
            Way::Empty | Way::Doubled | Way::Cut | Way::Flipped => {}
        }
    }
    if way == Way::Untouched {
        cases.push(Case {
            way,
            file: PathBuf::new(),
            at: 0,
        });
    }
    Ok(cases)
}

/// Every second place is where something was written: much of a file may be room.
fn place(content: &[u8], way: Way, seed: u64) -> u64 {
    let mut random = StdRng::seed_from_u64(seed);
    let written: Vec<usize> = (0..content.len()).filter(|it| content[*it] != 0).collect();
    let byte = if seed.is_multiple_of(2) && !written.is_empty() {
        written[random.random_range(0..written.len())]
    } else {
        random.random_range(0..content.len())
    };
    match way {
        Way::Flipped => byte as u64 * 8 + random.random_range(0..8),
        _ => byte as u64,
    }
}

impl Case {
    /// Damages the file in the folder `data`; `older` is the folder as it was.
    pub(crate) fn apply(&self, data: &Path, older: &Path) -> anyhow::Result<()> {
        let path = data.join(&self.file);
        let done = match self.way {
            Way::Untouched => Ok(()),
            Way::Missing => fs::remove_file(&path),
            Way::Empty => fs::write(&path, b""),
            Way::Cut => fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|it| it.set_len(self.at)),
            Way::Flipped => fs::read(&path).and_then(|mut content| {
                let byte = usize::try_from(self.at / 8).map_err(std::io::Error::other)?;
                content[byte] ^= 1 << (self.at % 8);
                fs::write(&path, content)
            }),
            Way::Doubled => {
                fs::read(&path).and_then(|it| fs::write(&path, [it.as_slice(), &it].concat()))
            }
            Way::Older => fs::copy(older.join(&self.file), &path).map(drop),
        };
        done.with_context(|| self.to_string())
    }
}
