//! Folders and modules are named by what they do; a name that fits everything tells nothing.

use proc_macro2::Ident;
use syn::visit::{self, Visit};

use super::report::Report;
use super::tree::Tree;

pub(super) const NAME: &str = "names";

const FORBIDDEN: [&str; 11] = [
    "common",
    "helper",
    "helpers",
    "impl",
    "impls",
    "manager",
    "managers",
    "misc",
    "util",
    "utils",
    "utilities",
];

/// The proto package `flare.common.v1` bears its name from the contract.
fn is_allowed(file: &str, name: &str) -> bool {
    name == "common" && file.starts_with("flare-proto/")
}

pub(super) fn check(tree: &Tree, report: &mut Report) -> anyhow::Result<()> {
    for file in tree.files() {
        for part in file.split('/') {
            let name = part.split_once('.').map_or(part, |(stem, _)| stem);
            if FORBIDDEN.contains(&name) && !is_allowed(file, name) {
                report.add(file, 1, message(name));
            }
        }
    }
    for file in tree.files_of_kind(&["rs"]) {
        let Some(text) = tree.text(file)? else {
            continue;
        };
        let Ok(parsed) = syn::parse_file(&text) else {
            report.add(file, 1, "does not parse as Rust");
            continue;
        };
        let mut inline = InlineModules::default();
        inline.visit_file(&parsed);
        for ident in inline.0 {
            let name = ident.to_string();
            if FORBIDDEN.contains(&name.as_str()) && !is_allowed(file, &name) {
                report.add(file, ident.span().start().line, message(&name));
            }
        }
    }
    Ok(())
}

fn message(name: &str) -> String {
    format!("`{name}` says nothing: name it by what it does")
}

/// Modules written out in braces; the others are found by their files.
#[derive(Default)]
struct InlineModules(Vec<Ident>);

impl<'ast> Visit<'ast> for InlineModules {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.content.is_some() {
            self.0.push(module.ident.clone());
        }
        visit::visit_item_mod(self, module);
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::findings_in_fixture;

    #[test]
    fn folders_files_and_inline_modules_are_named() {
        assert_eq!(
            findings_in_fixture(super::NAME),
            [
                "flare-session/src/helpers.rs:1: names: `helpers` says nothing: name it by what it does",
                "flare-session/src/lib.rs:4: names: `utils` says nothing: name it by what it does",
                "web/common/page.js:1: names: `common` says nothing: name it by what it does",
            ]
        );
    }
}
