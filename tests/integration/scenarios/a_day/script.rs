//! What people say.

use flare_core_sdk::Target;
use flare_proto::message::{Content, Image, Location, Mention, Quote, Text, content::Kind};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

const SAYINGS: [&str; 16] = [
    "good morning",
    "on my way",
    "你好，今天开会吗？",
    "好的，下午三点，老地方见。",
    "哈哈哈哈 😂😂😂",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇨🇭 ❤️‍🔥",
    "مرحبا، كيف حالك؟",
    "שלום, מה שלומך?",
    "mixed: abc العربية 中文 עברית 123",
    "Привет! Как дела?",
    "สวัสดีครับ",
    "नमस्ते दुनिया",
    "e\u{301} and é are two things, \u{200f}so is this\u{200e}",
    "line one\nline two\n\tline three",
    "{\"json\": [1, 2, \"\\u0000\"]} <b>html</b> & 'quotes'",
    "ok",
];
/// The largest texts.
const LONG_TEXT_BYTES: usize = 60 * 1_024;

/// Where somebody writes.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    User(String),
    Group { id: String, others: Vec<String> },
}

impl Place {
    /// Where it goes.
    pub(crate) fn target(&self) -> Target {
        match self {
            Self::User(user) => Target::user(user),
            Self::Group { id, .. } => Target::conversation(id),
        }
    }
}

/// The `number`th thing that somebody says, at `place`.
pub(crate) fn content(rng: &mut StdRng, place: &Place, number: u32) -> Content {
    let saying = SAYINGS.choose(rng).copied().unwrap_or_default();
    let said = format!("{number}: {saying}");
    let kind = match rng.random_range(0..200) {
        0 => Kind::Text(Text {
            text: long_text(rng),
        }),
        1..=4 => Kind::Image(Image {
            url: format!("https://media.example.com/{number}.jpg"),
            width_px: 640,
            height_px: 480,
            mime_type: "image/jpeg".to_owned(),
            ..Image::default()
        }),
        5..=6 => Kind::Location(Location {
            latitude_deg: 46.94,
            longitude_deg: 7.44,
            name: "伯尔尼".to_owned(),
            ..Location::default()
        }),
        7..=9 => Kind::Quote(Quote {
            seq: 1,
            text: said.clone(),
            ..Quote::default()
        }),
        _ => Kind::Text(Text { text: said.clone() }),
    };
    let mut content = Content {
        fallback: if matches!(kind, Kind::Text(_)) {
            String::new()
        } else {
            said
        },
        kind: Some(kind),
        ..Content::default()
    };
    if let Place::Group { others, .. } = place {
        match rng.random_range(0..20) {
            0 => content.mention_all = true,
            1..=3 => {
                let users = others.choose_multiple(rng, 2);
                content.mentions = users
                    .map(|it| Mention {
                        user_id: it.clone(),
                        ..Mention::default()
                    })
                    .collect();
            }
            _ => {}
        }
    }
    content
}

fn long_text(rng: &mut StdRng) -> String {
    let mut text = String::with_capacity(LONG_TEXT_BYTES);
    while let Some(saying) = SAYINGS
        .choose(rng)
        .filter(|it| text.len() + it.len() <= LONG_TEXT_BYTES)
    {
        text.push_str(saying);
    }
    text
}
