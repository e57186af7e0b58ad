//! Programs that examples need and that a stranger may not have.

use std::path::Path;

/// Which there are.
const OPTIONAL: [&str; 3] = ["websocat", "grpcurl", "script"];
/// If it is set, none may be missing.
const DEMANDED: &str = "FLARE_DOCUMENT_TOOLS";

#[expect(
    clippy::disallowed_methods,
    reason = "a test's switch is no setting of the server"
)]
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

fn is_found(tool: &str) -> bool {
    let path = variable("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_program(&folder.join(tool)))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Whether what needs `tool` is run: it is there, or must be.
pub(crate) fn runs(tool: &str) -> bool {
    variable(DEMANDED).is_some() || is_found(tool)
}

/// The optional tool that a script needs and that is not there.
pub(crate) fn lacked_by(script: &str) -> Option<&'static str> {
    OPTIONAL
        .into_iter()
        .find(|tool| uses(script, tool) && !runs(tool))
}

/// Whether a script calls `tool`.
pub(crate) fn uses(script: &str, tool: &str) -> bool {
    script
        .split(|it: char| it.is_whitespace() || "|($;".contains(it))
        .any(|word| word == tool)
}

/// Says which tools are not there, and so which examples are not run.
pub(crate) fn list_missing() {
    for tool in OPTIONAL.into_iter().filter(|tool| !runs(tool)) {
        eprintln!(
            "{tool} is not installed: examples that need it are NOT run ({DEMANDED}=1 demands them)"
        );
    }
}
