//! Each crate has a README, and the README is the crate's documentation: one text, which both readers find.

use super::report::Report;
use super::tree::{Tree, join};

pub(super) const NAME: &str = "crate-readme";

pub(super) fn check(tree: &Tree, report: &mut Report) -> anyhow::Result<()> {
    for member in tree.crates() {
        let readme = join(&member.dir, "README.md");
        if !tree.contains(&readme) {
            report.add(
                &member.manifest(),
                1,
                format!("`{}` has no README.md beside its manifest", member.name),
            );
            continue;
        }
        let Some(text) = tree.text(&member.root_file)? else {
            continue;
        };
        let Ok(parsed) = syn::parse_file(&text) else {
            report.add(&member.root_file, 1, "does not parse as Rust");
            continue;
        };
        let folder = join(&member.dir, "");
        let steps_up = match member.root_file.strip_prefix(&folder) {
            Some(inside) => inside.matches('/').count(),
            None => {
                report.add(
                    &member.manifest(),
                    1,
                    format!("`{}` stands outside its folder", member.root_file),
                );
                continue;
            }
        };
        let include = format!("{}README.md", "../".repeat(steps_up));
        if !parsed
            .attrs
            .iter()
            .any(|attribute| includes(attribute, &include))
        {
            report.add(
                &member.root_file,
                1,
                format!("`#![doc = include_str!(\"{include}\")]` is missing: the README is the crate's documentation"),
            );
        }
    }
    Ok(())
}

fn includes(attribute: &syn::Attribute, file: &str) -> bool {
    let syn::Meta::NameValue(meta) = &attribute.meta else {
        return false;
    };
    let syn::Expr::Macro(value) = &meta.value else {
        return false;
    };
    meta.path.is_ident("doc")
        && value.mac.path.is_ident("include_str")
        && value
            .mac
            .parse_body::<syn::LitStr>()
            .is_ok_and(|path| path.value() == file)
}

#[cfg(test)]
mod tests {
    use crate::tidy::findings_in_fixture;

    #[test]
    fn a_crate_without_a_readme_and_one_that_does_not_include_it_are_named() {
        assert_eq!(
            findings_in_fixture(super::NAME),
            [
                "reader/Cargo.toml:1: crate-readme: `flare-storage-reader` has no README.md beside its manifest",
                "writer/src/lib.rs:1: crate-readme: `#![doc = include_str!(\"../README.md\")]` is missing: \
                 the README is the crate's documentation",
            ]
        );
    }
}
