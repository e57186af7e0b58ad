//! A data folder as one file: segments are preallocated with zeros, which compress to nothing.

use std::{
    fs::File,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use tempfile::TempDir;

/// The archive's name in the folder of its version.
pub(crate) const NAME: &str = "data.tar.gz";
/// The folder in it.
const ROOT: &str = "flare-data";

/// Packs a data folder that nobody has open.
pub(crate) fn pack(data: &Path, archive: &Path) -> anyhow::Result<()> {
    let file = File::create(archive)?;
    let mut builder = tar::Builder::new(GzEncoder::new(file, Compression::best()));
    builder.mode(tar::HeaderMode::Deterministic);
    builder.append_dir_all(ROOT, data)?;
    builder.into_inner()?.finish()?.sync_all()?;
    Ok(())
}

/// A copy of a version's data folder, `flare-data` in a folder that goes with its value.
pub(crate) fn unpack(version: &Path) -> anyhow::Result<TempDir> {
    let archive = version.join(NAME);
    let file = File::open(&archive).with_context(|| archive.display().to_string())?;
    let folder = tempfile::tempdir()?;
    tar::Archive::new(GzDecoder::new(file)).unpack(folder.path())?;
    // The archive says nothing of rights, and a key that others may read is refused.
    let key = folder.path().join(ROOT).join("token.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))
        .with_context(|| key.display().to_string())?;
    Ok(folder)
}

/// The data folder of a copy.
pub(crate) fn data(copy: &TempDir) -> PathBuf {
    copy.path().join(ROOT)
}
