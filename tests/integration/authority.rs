//! The certificates of a deployment that is encrypted.

use std::path::{Path, PathBuf};

use flare_core_sdk::Trust;

use crate::process::{self, text};

/// What `flare certs` has made.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes one for a deployment in `folder`, and the certificates of its processes; of the authority that there is, if there is one.
    pub(crate) async fn make(folder: &Path) -> anyhow::Result<Self> {
        let made = Self::of(folder);
        process::run(&["certs", "--out", &text(&made.folder)?]).await?;
        Ok(made)
    }

    /// What [`Self::make`] has made in `folder`.
    pub(crate) fn of(folder: &Path) -> Self {
        Self {
            folder: folder.join("certs"),
        }
    }

    /// The file of this name that it has made.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Its own certificate's file.
    pub(crate) fn ca(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(self.ca())?)
    }

    /// Of a process that is encrypted on every side.
    pub(crate) fn settings(&self) -> anyhow::Result<Vec<String>> {
        let files = [
            ("tls.certificate", "server.pem"),
            ("tls.key", "server-key.pem"),
            ("peer.tls.ca", "ca.pem"),
            ("peer.tls.certificate", "peer.pem"),
            ("peer.tls.key", "peer-key.pem"),
        ];
        let setting = |(key, file)| Ok(format!("{key}={}", text(&self.file(file))?));
        files.into_iter().map(setting).collect()
    }
}

/// Belief in the authority whose certificate stands in this file, if there is one.
pub(crate) fn trust(ca: Option<&Path>) -> anyhow::Result<Trust> {
    Ok(match ca {
        Some(file) => Trust::with_authority(&std::fs::read(file)?)?,
        None => Trust::public(),
    })
}
