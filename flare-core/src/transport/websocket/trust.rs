//! Whose certificates a client believes.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Whose certificates a client believes: the public authorities', and perhaps one's own.
#[derive(Clone, Default)]
pub struct Trust(Option<Arc<ClientConfig>>);

/// A file that holds no authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no certificate of an authority: {0}")]
pub struct TrustError(String);

impl Trust {
    /// The public authorities that Mozilla lists.
    pub fn public() -> Self {
        Self(None)
    }

    /// Beside the public authorities, those whose certificates stand in `pem`, such as the one that `flare certs` makes.
    ///
    /// # Errors
    /// If it is no PEM, or holds no certificate.
    pub fn with_authority(pem: &[u8]) -> Result<Self, TrustError> {
        let mut roots = public_roots();
        let before = roots.len();
        for authority in CertificateDer::pem_slice_iter(pem) {
            // The reader's own error repeats whole lines of the file.
            let authority = authority.map_err(|_| TrustError("no PEM".to_owned()))?;
            roots
                .add(authority)
                .map_err(|error| TrustError(error.to_string()))?;
        }
        if roots.len() == before {
            return Err(TrustError("want PEM with BEGIN CERTIFICATE".to_owned()));
        }
        Ok(Self(Some(Arc::new(config(roots)))))
    }

    pub(super) fn client_config(&self) -> Arc<ClientConfig> {
        /// Made when the first connection needs it: most are told whom to believe, or are not encrypted.
        static PUBLIC: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        let public = || PUBLIC.get_or_init(|| Arc::new(config(public_roots())));
        Arc::clone(self.0.as_ref().unwrap_or_else(public))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            None => "the public authorities",
            Some(_) => "the public authorities and others",
        })
    }
}

fn public_roots() -> RootCertStore {
    RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned())
}

fn config(roots: RootCertStore) -> ClientConfig {
    #[expect(clippy::expect_used, reason = "ring has suites for TLS 1.2 and 1.3")]
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring's suites")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_authority_is_refused() {
        for wrong in [
            &b""[..],
            b"nothing",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            Trust::with_authority(wrong).expect_err("no authority");
        }
    }
}
