//! Every path in a file, as seen from the crate's root.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A path that a file names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PathUse {
    /// Whether it begins at this crate's root; if not, its first segment may be another crate.
    pub(super) in_crate: bool,
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
}

/// The paths in `file`, which is the module `module` of the crate `crate_name` (with underscores).
pub(super) fn paths_in(file: &syn::File, module: &[String], crate_name: &str) -> Vec<PathUse> {
    let mut collector = Collector {
        module: module.to_vec(),
        crate_name,
        found: Vec::new(),
    };
    collector.visit_file(file);
    collector.found
}

/// The names that `use` items bring into the crate's root, each with the top-level module it comes from.
pub(super) fn names_used_at_root(file: &syn::File, crate_name: &str) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for item in &file.items {
        let syn::Item::Use(item) = item else { continue };
        flatten(&item.tree, &mut Vec::new(), &mut |path, name| {
            let from = path
                .iter()
                .find(|part| !["crate", "self", crate_name].contains(&part.as_str()));
            if let Some(from) = from {
                names.push((name.to_string(), from.clone()));
            }
        });
    }
    names
}

struct Collector<'a> {
    /// The module whose text is being visited, inline modules included.
    module: Vec<String>,
    crate_name: &'a str,
    found: Vec<PathUse>,
}

impl Collector<'_> {
    fn add(&mut self, segments: Vec<String>, line: usize) {
        let mut rest = segments.as_slice();
        let mut base = match rest.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self" | "super") => self.module.clone(),
            Some(name) if name == self.crate_name => Vec::new(),
            Some(_) => {
                self.found.push(PathUse {
                    in_crate: false,
                    segments,
                    line,
                });
                return;
            }
            None => return,
        };
        if !matches!(rest.first().map(String::as_str), Some("super")) {
            rest = &rest[1..];
        }
        while rest.first().is_some_and(|segment| segment == "super") {
            base.pop();
            rest = &rest[1..];
        }
        base.extend_from_slice(rest);
        self.found.push(PathUse {
            in_crate: true,
            segments: base,
            line,
        });
    }

    /// Finds `a::b` in the unparsed tokens of macro calls and attributes.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) => {
                    if colons != 2 || path.is_empty() {
                        self.end_path(&mut path, line);
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Group(group) => {
                    // What `a::{b, c}` names is enough to judge by its head.
                    self.end_path(&mut path, line);
                    colons = 0;
                    self.add_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.end_path(&mut path, line);
                    colons = 0;
                }
            }
        }
        self.end_path(&mut path, line);
    }

    fn end_path(&mut self, path: &mut Vec<String>, line: usize) {
        if path.len() > 1 {
            self.add(std::mem::take(path), line);
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut |path, name| {
            found.push((path.to_vec(), name.span().start().line));
        });
        for (path, line) in found {
            self.add(path, line);
        }
        visit::visit_item_use(self, item);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.add(vec![item.ident.to_string()], item.ident.span().start().line);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // One segment is a name in scope; what brought it there is looked at where it stands.
        if path.segments.len() > 1 {
            let line = path.segments[0].ident.span().start().line;
            self.add(
                path.segments
                    .iter()
                    .map(|segment| segment.ident.to_string())
                    .collect(),
                line,
            );
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.add_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.add_tokens(list.tokens.clone());
        visit::visit_meta_list(self, list);
    }
}

/// Calls `each` with every full path of a `use` tree and the name it brings into scope; a glob brings `*`.
fn flatten(
    tree: &syn::UseTree,
    path: &mut Vec<String>,
    each: &mut impl FnMut(&[String], &proc_macro2::Ident),
) {
    match tree {
        syn::UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            match &*inner.tree {
                syn::UseTree::Glob(_) => each(path, &inner.ident),
                below => flatten(below, path, each),
            }
            path.pop();
        }
        // `use a::{self}` brings in `a`.
        syn::UseTree::Name(name) if name.ident == "self" => each(path, &name.ident),
        syn::UseTree::Name(name) => with(path, &name.ident, &name.ident, each),
        syn::UseTree::Rename(rename) if rename.ident == "self" => each(path, &rename.rename),
        syn::UseTree::Rename(rename) => with(path, &rename.ident, &rename.rename, each),
        syn::UseTree::Group(group) => {
            for below in &group.items {
                flatten(below, path, each);
            }
        }
        // Only at the very top, where it brings in nothing of a layer.
        syn::UseTree::Glob(_) => {}
    }
}

fn with(
    path: &mut Vec<String>,
    last: &proc_macro2::Ident,
    name: &proc_macro2::Ident,
    each: &mut impl FnMut(&[String], &proc_macro2::Ident),
) {
    path.push(last.to_string());
    each(path, name);
    path.pop();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(module: &str, code: &str) -> Vec<String> {
        let module: Vec<String> = module.split('/').map(str::to_owned).collect();
        paths_in(&syn::parse_file(code).unwrap(), &module, "flare_session")
            .into_iter()
            .map(|path| {
                let root = if path.in_crate { "crate::" } else { "" };
                format!("{}:{root}{}", path.line, path.segments.join("::"))
            })
            .collect()
    }

    #[test]
    fn use_trees_are_taken_apart() {
        assert_eq!(
            found(
                "domain",
                "use crate::{\n a::B,\n c::{self, D as E},\n f::*,\n};\nuse x;"
            ),
            [
                "2:crate::a::B",
                "3:crate::c",
                "3:crate::c::D",
                "4:crate::f",
                "6:x"
            ]
        );
    }

    #[test]
    fn super_and_self_are_resolved_through_inline_modules() {
        assert_eq!(
            found(
                "domain/member",
                "use super::super::a;\nmod tests { use super::b; use super::super::super::c; }"
            ),
            ["1:crate::a", "2:crate::domain::member::b", "2:crate::c"]
        );
        assert_eq!(
            found("domain", "use self::a::B;"),
            ["1:crate::domain::a::B"]
        );
        assert_eq!(found("domain", "use flare_session::a;"), ["1:crate::a"]);
    }

    #[test]
    fn code_generic_arguments_attributes_and_macro_calls_are_read() {
        assert_eq!(
            found(
                "domain",
                "#[derive(a::B)]\nstruct S(Vec<c::D>);\nfn f() {\n e::f();\n vec![super::g::H, i];\n}"
            ),
            ["1:a::B", "2:c::D", "4:e::f", "5:crate::g::H"]
        );
    }
}
