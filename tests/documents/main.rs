//! The documents, against the program: their examples run, their tables and transcripts are true.
//!
//! Examples with websocat or grpcurl run where these tools are found. What was not run is listed; with `FLARE_DOCUMENT_TOOLS=1`, as in CI, a
//! missing tool is a failure. With the feature `server-tests` the README's examples are run on a cluster, too.

mod answers;
mod client_protocol;
#[cfg(feature = "server-tests")]
mod cluster;
mod configuration;
mod errors;
mod examples;
mod markdown;
mod metrics;
mod output;
mod server;
mod shell;
mod sources;
mod tools;
mod transcript;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list {
        tools::list_missing();
    }
    let mut trials = vec![
        trial("readme::examples_do_what_they_show", || {
            examples::run("README.md")
        }),
        trial("readme::the_chinese_one_has_the_same_examples", || {
            examples::same("README.md", "README.zh-CN.md")
        }),
        trial("operations::examples_do_what_they_show", || {
            examples::run("doc/operations.md")
        }),
        trial(
            "client_protocol::the_transcript_is_what_happens",
            client_protocol::by_socket,
        ),
        trial(
            "client_protocol::every_frame_has_its_fields",
            client_protocol::every_frame_has_its_fields,
        ),
        trial(
            "client_protocol::every_open_method_is_listed",
            client_protocol::every_open_method_is_listed,
        ),
        trial(
            "client_protocol::every_close_reason_is_listed",
            client_protocol::every_close_reason_is_listed,
        ),
        trial(
            "errors::every_code_has_one_line_that_is_true",
            errors::every_code_has_one_line_that_is_true,
        ),
        trial(
            "configuration::the_page_is_what_the_command_prints",
            configuration::the_page_is_what_the_command_prints,
        ),
        trial(
            "configuration::samples_load_with_every_environment",
            configuration::samples_load_with_every_environment,
        ),
        trial(
            "configuration::commented_keys_are_keys",
            configuration::commented_keys_are_keys,
        ),
        trial(
            "configuration::every_service_has_a_sample_of_its_own",
            configuration::every_service_has_a_sample_of_its_own,
        ),
        trial(
            "configuration::listen_stands_above_all",
            configuration::listen_stands_above_all,
        ),
        trial(
            "limits::the_page_is_what_the_command_prints",
            configuration::the_limits_are_what_the_command_prints,
        ),
        trial(
            "limits::every_metric_is_one_that_is_set",
            configuration::every_metric_is_one_that_is_set,
        ),
        trial(
            "operations::every_metric_that_is_set_is_listed",
            metrics::every_metric_that_is_set_is_listed,
        ),
        trial(
            "operations::what_a_server_shows_is_listed",
            metrics::what_a_server_shows_is_listed,
        ),
        trial(
            "operations::every_span_is_listed",
            metrics::every_span_is_listed,
        ),
    ];
    trials.push(trial(
        "output::nothing_but_answers_goes_to_a_pipe",
        output::nothing_but_answers_goes_to_a_pipe,
    ));
    #[cfg(feature = "server-tests")]
    trials.push(trial("readme::examples_hold_on_a_cluster", || {
        examples::run_on_a_cluster("README.md")
    }));
    let has_no_terminal = !tools::runs("script");
    trials.extend(
        [
            trial(
                "output::a_terminal_is_shown_how_far_it_is",
                output::a_terminal_is_shown_how_far_it_is,
            ),
            trial(
                "output::colours_are_for_terminals_without_no_color",
                output::colours_are_for_terminals_without_no_color,
            ),
        ]
        .map(|it| it.with_ignored_flag(has_no_terminal)),
    );
    // The same page with a client that nobody here wrote.
    let websocat = trial(
        "client_protocol::websocat_sees_the_same",
        client_protocol::by_websocat,
    );
    trials.push(websocat.with_ignored_flag(!tools::runs("websocat")));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, run: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || {
        run().map_err(|error| Failed::from(format!("{error:#}")))
    })
}
