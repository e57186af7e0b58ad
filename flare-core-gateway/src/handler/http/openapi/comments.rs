//! What the contract's comments say.

use prost_reflect::prost_types::FileDescriptorProto;

/// The comment that stands before what `path` leads to in its file; empty: none.
pub(super) fn comment(file: &FileDescriptorProto, path: &[i32]) -> String {
    let locations = file
        .source_code_info
        .as_ref()
        .map(|it| it.location.as_slice())
        .unwrap_or_default();
    let leading = locations
        .iter()
        .find(|it| it.path == path)
        .and_then(|it| it.leading_comments.as_deref());
    let lines = leading.unwrap_or_default().lines().map(str::trim);
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}
