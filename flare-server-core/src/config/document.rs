//! The page that lists every key, made from the sections themselves.

use std::fmt::Write;

use figment::value::Value;

use super::{print::value_text, shape::Shape};

/// One key, as a page lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDoc {
    /// With dots; `<name>` stands for what the user chooses, `[]` for each of a list.
    pub key: String,
    /// What values it takes.
    pub values: String,
    /// As TOML; None: not set.
    pub default: Option<String>,
    /// Empty: it has none.
    pub unit: &'static str,
    /// What it is.
    pub doc: String,
}

/// The keys of `shape` and of what is inside it.
pub(super) fn describe(shape: &Shape) -> Vec<KeyDoc> {
    let mut keys = Vec::new();
    if let Shape::Section(section) = shape {
        collect(shape, &section.default, "", "", &mut keys);
    }
    keys
}

/// A Markdown page of `sections`, each a heading, an introduction and its keys.
pub fn document<'a>(sections: impl IntoIterator<Item = (&'a str, &'a str, Vec<KeyDoc>)>) -> String {
    let mut page = String::new();
    for (heading, introduction, keys) in sections {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "## {heading}\n\n{introduction}\n");
        let _ = writeln!(
            page,
            "| key | values | default | unit | what it is |\n|---|---|---|---|---|"
        );
        for key in keys {
            let default = key
                .default
                .map(|it| format!("`{}`", cell(&it)))
                .unwrap_or_default();
            let (values, doc) = (cell(&key.values), cell(&key.doc));
            let _ = writeln!(
                page,
                "| `{}` | {values} | {default} | {} | {doc} |",
                key.key, key.unit
            );
        }
        page.push('\n');
    }
    page
}

fn collect(shape: &Shape, default: &Value, path: &str, doc: &str, keys: &mut Vec<KeyDoc>) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match shape {
        Shape::Section(section) => {
            for field in &section.fields {
                let value = default
                    .as_dict()
                    .and_then(|it| it.get(field.key))
                    .cloned()
                    .unwrap_or_else(not_set);
                collect(&field.shape, &value, &below(field.key), &field.doc, keys);
            }
        }
        Shape::Table(item) => match &**item {
            Shape::Section(section) => collect(item, &section.default, &below("<name>"), doc, keys),
            leaf => collect(leaf, &not_set(), &below("<name>"), doc, keys),
        },
        Shape::List(item) if let Shape::Section(section) = &**item => {
            collect(item, &section.default, &format!("{path}[]"), doc, keys);
        }
        leaf => keys.push(KeyDoc {
            key: path.to_owned(),
            values: leaf.what(),
            default: value_text(leaf, default),
            unit: unit(path),
            doc: doc.to_owned(),
        }),
    }
}

fn not_set() -> Value {
    figment::value::Empty::None.into()
}

/// The unit that a key's name ends in.
fn unit(key: &str) -> &'static str {
    let units = [
        ("_per_s", "per second"),
        ("_ms", "milliseconds"),
        ("_s", "seconds"),
        ("_bytes", "bytes"),
    ];
    units
        .iter()
        .find(|(suffix, _)| key.ends_with(suffix))
        .map_or("", |(_, unit)| unit)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
