//! Each limit of doc/limits.md, reached on a running server through its public interfaces: what happens beyond it is what the page says, and
//! what the page names to see it by shows it.
//!
//! `cargo test --test limits` reaches them all; `-- bytes_of_a_frame` one.

mod case;
mod cases;
mod flood;
mod ground;
mod http;
mod link;
mod until;

#[path = "../surfaces/answer.rs"]
#[expect(dead_code, reason = "other tests read batches' answers")]
mod answer;
#[path = "../surfaces/message.rs"]
#[expect(dead_code, reason = "other tests ask on all surfaces")]
#[expect(clippy::expect_used, reason = "a broken test ends there")]
mod message;
#[path = "../integration/process.rs"]
#[expect(dead_code, reason = "killing is for the integration scenarios")]
mod process;

use std::process::ExitCode;

use flare_im::limits::{GROUPS, Group, Limit};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::case::Case;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut cases = cases::all();
    let mut trials: Vec<_> = GROUPS
        .iter()
        .flat_map(|group| group.limits.iter().map(move |limit| (group, limit)))
        .map(|(group, limit)| trial(group, limit, &mut cases))
        .collect();
    // Whatever is left is of no row.
    trials.extend(cases.into_iter().map(|case| {
        let why = format!("{:?} is no limit of the table", case.what);
        Trial::test(named("no limit", case.what), || Err(Failed::from(why)))
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The trial of a row, which takes its case out of `cases`.
fn trial(group: &Group, limit: &'static Limit, cases: &mut Vec<Case>) -> Trial {
    let name = named(group.heading, limit.what);
    let Some(index) = cases.iter().position(|it| it.what == limit.what) else {
        let why = format!("no test reaches the limit {:?}", limit.what);
        return Trial::test(name, || Err(Failed::from(why)));
    };
    let case = cases.swap_remove(index);
    Trial::test(name, move || {
        case.run(limit)
            .map_err(|error| Failed::from(format!("{error:#}")))
    })
}

fn named(heading: &str, what: &str) -> String {
    let word = |text: &str| {
        text.to_lowercase()
            .split(|it: char| !it.is_alphanumeric())
            .filter(|it| !it.is_empty())
            .collect::<Vec<_>>()
            .join("_")
    };
    format!("{}::{}", word(heading), word(what))
}
