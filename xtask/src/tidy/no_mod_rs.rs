//! A module's file bears its name: `foo.rs` beside `foo/`, never `foo/mod.rs`.

use super::report::Report;
use super::tree::{Tree, folder};

pub(super) const NAME: &str = "no-mod-rs";

pub(super) fn check(tree: &Tree, report: &mut Report) -> anyhow::Result<()> {
    for file in tree.files() {
        if file == "mod.rs" || file.ends_with("/mod.rs") {
            report.add(
                file,
                1,
                format!("name the module's file `{}.rs`", folder(file)),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::tidy::findings_in_fixture;

    #[test]
    fn a_mod_rs_is_named() {
        assert_eq!(
            findings_in_fixture(super::NAME),
            ["src/delivery/mod.rs:1: no-mod-rs: name the module's file `src/delivery.rs`"]
        );
    }
}
