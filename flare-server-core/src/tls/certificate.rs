//! A certificate and its key, in files that may change while the process runs.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use rustls::{
    client::ResolvesClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{sync::Mutex, task::spawn_blocking};

use super::provider;

/// The files are looked at no more often, and only when there is a connection to make.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// Told of a file that cannot be read as PEM. The reader's own error repeats whole lines of it, which may be of a key.
pub(super) const NO_PEM: &str =
    "no PEM: a section does not begin, end or decode as one does; want BEGIN CERTIFICATE";
const NO_KEY: &str = "holds no private key as PEM: want BEGIN PRIVATE KEY";

/// Why a certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", file.display())]
pub struct CertificateError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it, and what would be right.
    pub why: String,
}

/// What stands in the files.
#[derive(Debug)]
pub(super) struct Loaded {
    certified: Arc<CertifiedKey>,
    pub(super) chain_pem: Vec<u8>,
    pub(super) key_pem: Vec<u8>,
    expires_s: i64,
    /// Counts from 0, one for each change.
    pub(super) generation: u64,
}

/// A certificate chain and its private key. A change of the files is taken over when the next connection is made, at most once a second; files that
/// do not fit together change nothing.
#[derive(Debug)]
pub struct Certificate {
    /// What metrics and logs call it.
    name: &'static str,
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<Loaded>>,
    looked: Mutex<Looked>,
}

#[derive(Clone, Copy, Debug)]
struct Looked {
    at: Instant,
    saw: Option<(Stamp, Stamp)>,
}

/// What changes with a file, also where a symbolic link to it is moved.
type Stamp = (i64, i64, u64, u64);

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    /// If one cannot be read, or the key is not the certificate's.
    pub fn open(name: &'static str, chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        // Before they are read: a change meanwhile is seen later.
        let saw = stamps(chain, key).ok();
        let loaded = Loaded::read(chain, key)?;
        warn_of_readers(key);
        let certificate = Self {
            name,
            chain: chain.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(Arc::new(loaded)),
            looked: Mutex::new(Looked {
                at: Instant::now(),
                saw,
            }),
        };
        certificate.tell_expiry();
        Ok(certificate)
    }

    /// When it expires, in Unix seconds.
    pub fn expires_s(&self) -> i64 {
        self.current().expires_s
    }

    /// Whether the files have not been looked at for a while.
    pub(super) fn is_due(&self) -> bool {
        self.looked
            .try_lock()
            .is_ok_and(|looked| looked.at.elapsed() >= LOOKED_AT_EVERY)
    }

    /// Takes over what has changed in the files, unless they were looked at within the last second or are being looked at.
    pub async fn refresh(&self) {
        let Ok(mut looked) = self.looked.try_lock() else {
            return;
        };
        if looked.at.elapsed() < LOOKED_AT_EVERY {
            return;
        }
        let (chain, key, before) = (self.chain.clone(), self.key.clone(), looked.saw);
        let read = spawn_blocking(move || {
            let saw = stamps(&chain, &key).ok();
            (saw, (saw != before).then(|| Loaded::read(&chain, &key)))
        });
        let Ok((saw, read)) = read.await else {
            return;
        };
        *looked = Looked {
            at: Instant::now(),
            saw,
        };
        match read {
            None => {}
            Some(Ok(mut loaded)) => {
                loaded.generation = self.current().generation + 1;
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
                metrics::counter!("flare_tls_reloads_total", "certificate" => self.name, "outcome" => "taken").increment(1);
                self.tell_expiry();
                tracing::info!(certificate = self.name, file = %self.chain.display(), "a new certificate is in use");
            }
            Some(Err(error)) => {
                metrics::counter!("flare_tls_reloads_total", "certificate" => self.name, "outcome" => "refused").increment(1);
                tracing::error!(certificate = self.name, %error, "the certificate's files have changed and cannot be used; the one before stays in use");
            }
        }
    }

    pub(super) fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell_expiry(&self) {
        metrics::gauge!("flare_tls_certificate_not_after_seconds", "certificate" => self.name)
            .set(self.expires_s() as f64);
    }
}

impl Loaded {
    fn read(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let wrong = |file: &Path, why: String| CertificateError {
            file: file.to_owned(),
            why,
        };
        let chain_pem = fs::read(chain).map_err(|error| wrong(chain, error.to_string()))?;
        let key_pem = fs::read(key).map_err(|error| wrong(key, error.to_string()))?;
        let certificates = CertificateDer::pem_slice_iter(&chain_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| wrong(chain, NO_PEM.to_owned()))?;
        let Some(first) = certificates.first() else {
            return Err(wrong(
                chain,
                "holds no certificate: want PEM with BEGIN CERTIFICATE".to_owned(),
            ));
        };
        let (_, parsed) = x509_parser::parse_x509_certificate(first)
            .map_err(|error| wrong(chain, format!("no certificate of X.509: {error}")))?;
        let expires_s = parsed.validity().not_after.timestamp();
        let private =
            PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| wrong(key, NO_KEY.to_owned()))?;
        let certified = CertifiedKey::from_der(certificates, private, &provider())
            .map_err(|error| wrong(key, format!("is no key of {}: {error}", chain.display())))?;
        Ok(Self {
            certified: Arc::new(certified),
            chain_pem,
            key_pem,
            expires_s,
            generation: 0,
        })
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().certified))
    }
}

impl ResolvesClientCert for Certificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn stamps(chain: &Path, key: &Path) -> io::Result<(Stamp, Stamp)> {
    let stamp = |it: &Metadata| (it.mtime(), it.mtime_nsec(), it.ino(), it.len());
    Ok((stamp(&fs::metadata(chain)?), stamp(&fs::metadata(key)?)))
}

fn warn_of_readers(key: &Path) {
    let everybody_reads = fs::metadata(key).is_ok_and(|it| it.mode() & 0o004 != 0);
    if everybody_reads {
        tracing::warn!(file = %key.display(), "every user of this machine may read the private key; chmod 600 it");
    }
}
