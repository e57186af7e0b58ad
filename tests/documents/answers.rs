//! What the documents show, against what came. `…` stands for anything within a line, `<ulid>`, `<time>` and `<any>` for a JSON value.

use serde_json::Value;

/// Whether a line is as it is shown.
pub(crate) fn line_is_like(shown: &str, came: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = came.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
        last = Some(part);
    }
    // The last part stands at the end, wherever else it stands too.
    rest.is_empty() || last.is_some_and(|part| rest.ends_with(part))
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
            shown_fields.iter().find_map(|(name, field)| differs_at(&format!("{path}.{name}"), field, fields.get(name)?))
        }
        (Value::Array(shown_items), Value::Array(items)) => {
            if shown_items.len() != items.len() {
                return wrong();
            }
            let mut both = shown_items.iter().zip(items).enumerate();
            both.find_map(|(index, (shown, came))| differs_at(&format!("{path}[{index}]"), shown, came))
        }
        _ if shown == came => None,
        _ => wrong(),
    }
}
