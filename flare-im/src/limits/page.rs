//! The limits as a page: doc/limits.md.

use std::fmt::Write;

use flare_server_core::config::Section;

use super::{BOUNDS, Bound, GROUPS, Group, Sign, Source};
use crate::config::Config;

const BOUNDS_HEAD: &str = "\
## Bounds within the server

Caches, sizes, and calls between services. What happens at them shows nowhere outside, or takes a part of the server that fails: so no test on a running server reaches them.

| key | default | what happens at it |
|---|---|---|
";

const HEAD: &str = "\
# Limits

<!-- Made by `cargo run -p flare-im -- config limits > doc/limits.md`; a test compares. -->

Every queue, frame, page, cache and retry has a limit. Beyond it a request is refused with a reason, before it is acknowledged; nothing is dropped in silence.
What the codes mean is in [errors.md](errors.md), what the keys are in [configuration.md](configuration.md). `Connected` tells a client those that concern it.
`cargo test -p flare-im --test limits` reaches each of them, but for those of the last table, on a running server, and sees what the last column names.

";

/// The whole page.
pub fn page() -> String {
    let keys = Config::describe();
    let default = |key: &str| {
        let described = keys.iter().find(|it| it.key == key);
        described
            .and_then(|it| it.default.clone())
            .unwrap_or_default()
    };
    let mut page = HEAD.to_owned();
    for Group { heading, limits } in GROUPS {
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "## {heading}\n\n| limit | key | default | beyond it | code | seen by |\n|---|---|---|---|---|---|"
        );
        for limit in *limits {
            let (key, number) = match limit.source {
                Source::Fixed(number) => ("fixed".to_owned(), number.to_string()),
                Source::Key(key) => (format!("`{key}`"), default(key)),
            };
            let ticked = |it: &str| format!("`{it}`");
            let code = limit
                .code
                .map(|it| ticked(it.as_str_name()))
                .unwrap_or_default();
            let signs: Vec<_> = limit
                .signs
                .iter()
                .map(|it| match it {
                    Sign::Metric(metric) => ticked(metric),
                    Sign::Line(words) | Sign::LastWords(words) => {
                        format!("standard error: {}", ticked(words))
                    }
                })
                .collect();
            let _ = writeln!(
                page,
                "| {} | {key} | {number} | {} | {code} | {} |",
                limit.what,
                limit.beyond,
                signs.join(", ")
            );
        }
        page.push('\n');
    }
    page.push_str(BOUNDS_HEAD);
    for Bound { key, why } in BOUNDS {
        let _ = writeln!(page, "| `{key}` | {} | {why} |", default(key));
    }
    format!("{}\n", page.trim_end())
}
