//! What the services share that answer clients and business backends.

use std::{path::Path, sync::Arc};

use super::base::BaseConfig;
use crate::{
    clock::IdSource,
    identity::{IdentityError, LocalJwt, TokenValidator},
    tls::{Certificate, CertificateError},
};

/// Who is let in, and what is shown to them.
#[derive(Clone)]
pub struct Edge {
    /// Judges tokens.
    pub validator: Arc<dyn TokenValidator>,
    /// The tenants that there are.
    pub tenants: Vec<String>,
    /// What connections are encrypted with; None: they are not.
    pub certificate: Option<Arc<Certificate>>,
}

/// Why the edge cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The certificate of clients and backends.
    #[error("tls: {0}")]
    Certificate(#[from] CertificateError),
    /// The keys of tokens.
    #[error("identity: {0}")]
    Identity(#[from] IdentityError),
}

impl Edge {
    /// Reads the certificate and the keys of tokens; the deployment's own key is made in `data` if it is to be there.
    ///
    /// # Errors
    /// If a file of them cannot be read.
    pub fn open(config: &BaseConfig, data: &Path) -> Result<Self, EdgeError> {
        Ok(Self {
            certificate: config.tls.open()?,
            validator: Arc::new(LocalJwt::open(
                &config.identity,
                data,
                &IdSource::from_os(),
            )?),
            tenants: config.identity.tenants.clone(),
        })
    }
}
