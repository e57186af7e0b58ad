//! A configuration as TOML for people: secrets masked, each value with its origin.

use std::fmt::Write;

use figment::value::Value;

use super::shape::Shape;

/// Writes `values`, which fit `shape`. `origin` says who said a value.
pub(super) fn print(shape: &Shape, values: &Value, origin: &dyn Fn(&Value) -> String) -> String {
    let mut out = String::new();
    table(shape, values, &mut Vec::new(), origin, &mut out);
    out
}

fn table(
    shape: &Shape,
    values: &Value,
    path: &mut Vec<String>,
    origin: &dyn Fn(&Value) -> String,
    out: &mut String,
) {
    let mut leaves = String::new();
    let mut tables = Vec::new();
    for (key, shape, value) in entries(shape, values) {
        match shape {
            Shape::Section(_) | Shape::Table(_) if value.as_dict().is_some() => {
                tables.push((key, shape, value))
            }
            _ => leaf(&key, shape, value, &origin(value), &mut leaves),
        }
    }
    if !leaves.is_empty() && !path.is_empty() {
        let name: Vec<_> = path.iter().map(|it| quoted_key(it)).collect();
        let gap = if out.is_empty() { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{gap}[{}]", name.join("."));
    }
    out.push_str(&leaves);
    for (key, shape, value) in tables {
        path.push(key);
        table(shape, value, path, origin, out);
        path.pop();
    }
}

/// The keys below a value that are there, each with its shape.
fn entries<'a>(shape: &'a Shape, values: &'a Value) -> Vec<(String, &'a Shape, &'a Value)> {
    let Some(dict) = values.as_dict() else {
        return Vec::new();
    };
    match shape {
        Shape::Section(section) => section
            .fields
            .iter()
            .filter_map(|field| {
                dict.get(field.key)
                    .map(|value| (field.key.to_owned(), &field.shape, value))
            })
            .collect(),
        Shape::Table(item) => dict
            .iter()
            .map(|(key, value)| (key.clone(), &**item, value))
            .collect(),
        _ => Vec::new(),
    }
}

fn leaf(key: &str, shape: &Shape, value: &Value, origin: &str, out: &mut String) {
    let key = quoted_key(key);
    let _ = match value_text(shape, value) {
        Some(text) => writeln!(out, "{key} = {text} # {origin}"),
        None => writeln!(out, "# {key} is not set"),
    };
}

/// A leaf as TOML, secrets masked; None: not set.
pub(super) fn value_text(shape: &Shape, value: &Value) -> Option<String> {
    let value = match (shape, value) {
        (_, Value::Empty(..)) => return None,
        (Shape::Secret, Value::String(_, text)) if !text.is_empty() => toml::Value::from("***"),
        (Shape::List(item), Value::Array(_, items)) => {
            let items: Vec<_> = items.iter().filter_map(|it| value_text(item, it)).collect();
            return Some(format!("[{}]", items.join(", ")));
        }
        (Shape::Section(_) | Shape::Table(_), value) => {
            let entries = entries(shape, value).into_iter();
            let texts = entries.filter_map(|(key, shape, value)| {
                Some(format!(
                    "{} = {}",
                    quoted_key(&key),
                    value_text(shape, value)?
                ))
            });
            return Some(format!("{{ {} }}", texts.collect::<Vec<_>>().join(", ")));
        }
        (_, value) => toml::Value::try_from(value).ok()?,
    };
    Some(value.to_string())
}

fn quoted_key(key: &str) -> String {
    let bare = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        toml::Value::from(key).to_string()
    }
}
