//! TLS: certificates in files, looked at again when they change; connections of clients, and mutual TLS between processes.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

pub use self::{
    accept::{Acceptor, Stream},
    certificate::{Certificate, CertificateError},
    peer::{PEER_NAME, PeerTls},
};

mod accept;
mod certificate;
mod peer;

crate::section! {
    /// TLS on the ports of clients and of business backends.
    pub struct TlsConfig {
        /// The certificate and what leads to its authority, as PEM: a file, looked at again when it changes. Empty: connections are not encrypted.
        pub certificate: String = String::new(),
        /// The certificate's private key, as PEM: a file.
        pub key: String = String::new(),
    }
    validate(config, at) {
        at.require(config.certificate.is_empty() || !config.key.is_empty(), "key", "is required where certificate is set");
        at.require(config.key.is_empty() || !config.certificate.is_empty(), "certificate", "is required where key is set");
    }
}

crate::section! {
    /// Mutual TLS between processes: each shows a certificate of one authority for the name `flare-peer`. Empty: gRPC between them is not encrypted.
    pub struct PeerTlsConfig {
        /// The authority's certificate, as PEM: a file, read at the start.
        pub ca: String = String::new(),
        /// This process's certificate for the name flare-peer, as PEM: a file, looked at again when it changes.
        pub certificate: String = String::new(),
        /// The certificate's private key, as PEM: a file.
        pub key: String = String::new(),
    }
    validate(config, at) {
        for (value, key) in [(&config.ca, "ca"), (&config.certificate, "certificate"), (&config.key, "key")] {
            at.require(!value.is_empty() || !config.is_on(), key, "is required: ca, certificate and key are set together");
        }
    }
}

impl TlsConfig {
    /// Opens the certificate; None: connections are not encrypted.
    ///
    /// # Errors
    /// If a file cannot be read, or the key is not the certificate's.
    pub fn open(&self) -> Result<Option<Arc<Certificate>>, CertificateError> {
        (!self.certificate.is_empty())
            .then(|| {
                Certificate::open("clients", self.certificate.as_ref(), self.key.as_ref())
                    .map(Arc::new)
            })
            .transpose()
    }
}

impl PeerTlsConfig {
    /// Whether gRPC between processes is encrypted.
    pub fn is_on(&self) -> bool {
        [&self.ca, &self.certificate, &self.key]
            .into_iter()
            .any(|it| !it.is_empty())
    }
}

/// The cryptography that everything stands on.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
