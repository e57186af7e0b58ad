//! No test is skipped or waits by the clock, and no code pretends to be written.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::report::Report;
use super::tree::Tree;

pub(super) const NAME: &str = "honest-tests";

pub(super) fn check(tree: &Tree, report: &mut Report) -> anyhow::Result<()> {
    for file in tree.files_of_kind(&["rs"]) {
        let Some(text) = tree.text(file)? else {
            continue;
        };
        let Ok(tokens) = text.parse::<TokenStream>() else {
            report.add(file, 1, "does not parse as Rust");
            continue;
        };
        let in_tests = file.split('/').any(|part| part == "tests");
        for (line, message) in findings(tokens, in_tests) {
            report.add(file, line, message);
        }
    }
    Ok(())
}

fn findings(tokens: TokenStream, in_tests: bool) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    scan(tokens, in_tests, &mut found);
    found
}

fn scan(tokens: TokenStream, in_tests: bool, found: &mut Vec<(usize, String)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => {
                let is_attribute = group.delimiter() == Delimiter::Bracket
                    && index > 0
                    && matches!(&tokens[index - 1], TokenTree::Punct(it) if it.as_char() == '#');
                if is_attribute && ignores(group.stream()) {
                    let line = group.span_open().start().line;
                    found.push((
                        line,
                        "a test that does not run proves nothing: make it pass or remove it"
                            .to_owned(),
                    ));
                }
                scan(group.stream(), in_tests, found);
            }
            TokenTree::Ident(ident) => {
                let line = ident.span().start().line;
                let next = tokens.get(index + 1);
                let is_macro = matches!(next, Some(TokenTree::Punct(it)) if it.as_char() == '!');
                let is_call = matches!(next, Some(TokenTree::Group(it)) if it.delimiter() == Delimiter::Parenthesis);
                let defines =
                    index > 0 && matches!(&tokens[index - 1], TokenTree::Ident(it) if it == "fn");
                if is_macro && (ident == "todo" || ident == "unimplemented") {
                    found.push((
                        line,
                        format!("`{ident}!` is a stub: write it, or let the feature not parse"),
                    ));
                } else if in_tests && is_call && !defines && ident == "sleep" {
                    found.push((
                        line,
                        "`sleep` in a test: wait for a condition with a deadline".to_owned(),
                    ));
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Whether an attribute is `ignore`, or becomes it by `cfg_attr`.
fn ignores(attribute: TokenStream) -> bool {
    let tokens: Vec<TokenTree> = attribute.into_iter().collect();
    match tokens.as_slice() {
        [TokenTree::Ident(name), ..] if name == "ignore" => true,
        [TokenTree::Ident(name), TokenTree::Group(inner)] if name == "cfg_attr" => {
            let after_condition = inner
                .stream()
                .into_iter()
                .skip_while(|token| !matches!(token, TokenTree::Punct(it) if it.as_char() == ','))
                .skip(1)
                .collect();
            ignores(after_condition)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in_fixture;

    #[test]
    fn ignored_tests_stubs_and_sleeps_are_named() {
        assert_eq!(
            findings_in_fixture(NAME),
            [
                "src/lib.rs:2: honest-tests: `todo!` is a stub: write it, or let the feature not parse",
                "src/lib.rs:8: honest-tests: `unimplemented!` is a stub: write it, or let the feature not parse",
                "tests/delivery.rs:2: honest-tests: a test that does not run proves nothing: make it pass or remove it",
                "tests/delivery.rs:6: honest-tests: a test that does not run proves nothing: make it pass or remove it",
                "tests/delivery.rs:8: honest-tests: `sleep` in a test: wait for a condition with a deadline",
            ]
        );
    }

    #[test]
    fn comments_strings_and_names_that_only_sound_alike_pass() {
        let code = "/// todo!()\nfn a() { b(\"#[ignore] sleep(1)\"); todo(); ignore(); }\n\
                    fn sleep() {}\n#[expect(ignored)]\nfn c() { sleep_until(d); }";
        assert_eq!(findings(code.parse().unwrap(), true), []);
    }

    #[test]
    fn code_outside_tests_may_sleep() {
        assert_eq!(
            findings("async fn a() { sleep(b).await }".parse().unwrap(), false),
            []
        );
    }
}
