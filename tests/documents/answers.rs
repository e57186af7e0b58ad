//! What the documents show, against what came. `…` stands for anything within a line, `<ulid>`, `<time>` and `<any>` for a JSON value.

use serde_json::Value;

/// Whether a line is as it is shown.
pub(crate) fn line_is_like(shown: &str, came: &str) -> bool {
    let Some((first, others)) = shown.split_once('…') else {
        return shown == came;
    };
    let Some(mut rest) = came.strip_prefix(first) else {
        return false;
    };
    let (between, last) = others
        .rsplit_once('…')
        .map_or((None, others), |(between, last)| (Some(between), last));
    for part in between.into_iter().flat_map(|it| it.split('…')) {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// Where a JSON value is not as it is shown.
pub(crate) fn difference(shown: &Value, came: &Value) -> Option<String> {
    differs_at("", shown, came)
}

fn differs_at(path: &str, shown: &Value, came: &Value) -> Option<String> {
    let wrong = || Some(format!("at {path:?}: shown {shown}, came {came}"));
    match (shown, came) {
        (Value::String(mark), _) if mark == "<any>" => None,
        (Value::String(mark), Value::String(text)) if mark == "<ulid>" => {
            let is_ulid = text.len() == 26 && text.parse::<ulid::Ulid>().is_ok();
            if is_ulid { None } else { wrong() }
        }
        (Value::String(mark), Value::String(text)) if mark == "<time>" => {
            // Unix milliseconds of this century.
            let is_time = text.len() == 13 && text.bytes().all(|it| it.is_ascii_digit());
            if is_time { None } else { wrong() }
        }
        (Value::Object(shown_fields), Value::Object(fields)) => {
            if !shown_fields.keys().eq(fields.keys()) {
                return wrong();
            }
            shown_fields.iter().find_map(|(name, field)| {
                differs_at(&format!("{path}.{name}"), field, fields.get(name)?)
            })
        }
        (Value::Array(shown_items), Value::Array(items)) => {
            if shown_items.len() != items.len() {
                return wrong();
            }
            let mut both = shown_items.iter().zip(items).enumerate();
            both.find_map(|(index, (shown, came))| {
                differs_at(&format!("{path}[{index}]"), shown, came)
            })
        }
        _ if shown == came => None,
        _ => wrong(),
    }
}
