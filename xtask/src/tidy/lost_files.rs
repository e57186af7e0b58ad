//! Every Rust file of a member is a module of one of its targets: the compiler says nothing of a file that nobody names, and its tests never run.

use std::collections::BTreeSet;

use syn::{Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta, ext::IdentExt};

use super::report::Report;
use super::tree::{Tree, folder, join, resolve};

pub(super) const NAME: &str = "lost-files";

pub(super) fn check(tree: &Tree, report: &mut Report) -> anyhow::Result<()> {
    let mut known = BTreeSet::new();
    for target in tree.crates().iter().flat_map(|it| &it.targets) {
        follow(tree, target, folder(target), &mut known)?;
    }
    for file in tree.files_of_kind(&["rs"]) {
        if is_of_a_member(tree, file) && !known.contains(file) {
            report.add(
                file,
                1,
                "no target has it as a module: name it with `mod`, or remove it",
            );
        }
    }
    Ok(())
}

/// Whether the manifest that is nearest above is the workspace's own or a member's. Other workspaces look after themselves.
fn is_of_a_member(tree: &Tree, file: &str) -> bool {
    let mut dir = folder(file);
    loop {
        if tree.files().contains(&join(dir, "Cargo.toml")) {
            return dir.is_empty() || tree.crates().iter().any(|it| it.dir == dir);
        }
        if dir.is_empty() {
            return false;
        }
        dir = folder(dir);
    }
}

/// Takes note of a file and of all that it names. Its modules stand in `below`.
fn follow(
    tree: &Tree,
    file: &str,
    below: &str,
    known: &mut BTreeSet<String>,
) -> anyhow::Result<()> {
    if !tree.files().contains(file) || !known.insert(file.to_owned()) {
        return Ok(());
    }
    let Some(text) = tree.text(file)? else {
        return Ok(());
    };
    // What does not parse is told of by the compiler.
    let Ok(parsed) = syn::parse_file(&text) else {
        return Ok(());
    };
    follow_items(tree, &parsed.items, folder(file), below, known)
}

fn follow_items(
    tree: &Tree,
    items: &[Item],
    beside: &str,
    below: &str,
    known: &mut BTreeSet<String>,
) -> anyhow::Result<()> {
    let modules = items.iter().filter_map(|item| match item {
        Item::Mod(module) => Some(module),
        _ => None,
    });
    for module in modules {
        let ItemMod {
            attrs,
            ident,
            content,
            ..
        } = module;
        let inside = join(below, &ident.unraw().to_string());
        match (content, attrs.iter().find_map(path)) {
            (Some((_, items)), _) => follow_items(tree, items, &inside, &inside, known)?,
            (None, Some(path)) => {
                if let Some(file) = resolve(beside, &path) {
                    follow(tree, &file, folder(&file), known)?;
                }
            }
            (None, None) => {
                follow(tree, &format!("{inside}.rs"), &inside, known)?;
                follow(tree, &join(&inside, "mod.rs"), &inside, known)?;
            }
        }
    }
    Ok(())
}

/// What `#[path = "…"]` says.
fn path(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(it) = &attribute.meta else {
        return None;
    };
    match &it.value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(path),
            ..
        }) if it.path.is_ident("path") => Some(path.value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::findings_in_fixture;

    #[test]
    fn files_that_nobody_names_are_told() {
        let lost = |file| {
            format!(
                "{file}:1: lost-files: no target has it as a module: name it with `mod`, or remove it"
            )
        };
        assert_eq!(
            findings_in_fixture(super::NAME),
            [lost("src/inner/lost.rs"), lost("tests/suite/lost.rs")]
        );
    }
}
