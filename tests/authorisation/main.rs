//! Who may call what: a table with a row for each call of the contract and a cell for each caller, every one asked of a running server on
//! every surface. The page doc/authorisation.md is made from the same table.

#![expect(clippy::expect_used, reason = "a broken test ends here")]

mod anybody;
mod caller;
mod cell;
mod closed;
mod contract;
mod expect;
mod ground;
mod page;
mod request;
mod run;
mod stage;
#[path = "../surfaces/surfaces.rs"]
mod surfaces;
mod table;
mod unanswered;
mod unbound;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// As the only argument: prints the page instead of testing.
const PRINT: &str = "page";

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|it| it == PRINT) {
        page::print();
        return ExitCode::SUCCESS;
    }
    let trials = vec![
        trial("every_call_of_the_contract_has_a_row", contract::is_covered),
        trial("every_route_is_asked", contract::routes_are_covered),
        trial("every_cell_is_answered_as_the_table_says", run::every_cell),
        trial("the_page_is_made_from_the_table", page::is_up_to_date),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, test: fn() -> anyhow::Result<()>) -> Trial {
    Trial::test(name, move || {
        test().map_err(|error| Failed::from(format!("{error:#}")))
    })
}
