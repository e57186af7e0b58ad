//! Mutual TLS between the processes of one deployment.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{self, ClientTlsConfig, Endpoint, Identity};

use super::{Certificate, CertificateError, PeerTlsConfig, accept, certificate::NO_PEM, provider};

/// A peer that has not shown its certificate by then is let go.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes at once; further connections wait to be accepted.
const HANDSHAKES: usize = 64;
/// After an accept that failed for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The name that a process's certificate bears, wherever it runs: addresses come and go.
pub const PEER_NAME: &str = "flare-peer";

/// What a process shows others, and whom it believes.
#[derive(Clone)]
pub struct PeerTls {
    certificate: Arc<Certificate>,
    ca_pem: Arc<[u8]>,
    acceptor: TlsAcceptor,
}

impl PeerTls {
    /// Reads the files; None: gRPC between processes is not encrypted.
    ///
    /// # Errors
    /// If a file cannot be read, the key is not the certificate's, or the authority's file holds no authority.
    pub fn open(config: &PeerTlsConfig) -> Result<Option<Self>, CertificateError> {
        if !config.is_on() {
            return Ok(None);
        }
        let certificate = Arc::new(Certificate::open(
            "peers",
            config.certificate.as_ref(),
            config.key.as_ref(),
        )?);
        let ca: &Path = config.ca.as_ref();
        let wrong = |why: String| CertificateError {
            file: ca.to_owned(),
            why,
        };
        let ca_pem = fs::read(ca).map_err(|error| wrong(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&ca_pem) {
            let authority = authority.map_err(|_| wrong(NO_PEM.to_owned()))?;
            roots
                .add(authority)
                .map_err(|error| wrong(format!("no certificate of an authority: {error}")))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| wrong(format!("holds no certificate of an authority: {error}")))?;
        Ok(Some(Self {
            acceptor: TlsAcceptor::from(accept::config(
                accept::server_builder().with_client_cert_verifier(verifier),
                &certificate,
                &["h2"],
            )),
            certificate,
            ca_pem: ca_pem.into(),
        }))
    }

    /// Changes when the certificate does: channels that were secured before show the one before.
    pub fn generation(&self) -> u64 {
        self.certificate.current().generation
    }

    /// Looks, beside the calling thread, whether the certificate's files have changed.
    pub fn refresh(&self) {
        if !self.certificate.is_due() {
            return;
        }
        let certificate = Arc::clone(&self.certificate);
        tokio::spawn(async move { certificate.refresh().await });
    }

    /// The endpoint, reached with what the certificate's files hold now.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn secured(&self, endpoint: Endpoint) -> Result<Endpoint, transport::Error> {
        let current = self.certificate.current();
        endpoint.tls_config(
            ClientTlsConfig::new()
                .ca_certificate(transport::Certificate::from_pem(&self.ca_pem))
                .identity(Identity::from_pem(&current.chain_pem, &current.key_pem))
                .domain_name(PEER_NAME)
                .assume_http2(true),
        )
    }

    /// Connections of peers that have shown their certificates. Nobody is accepted any more once the stream is dropped.
    pub fn incoming(
        &self,
        listener: TcpListener,
    ) -> ReceiverStream<io::Result<TlsStream<TcpStream>>> {
        let (taken, stream) = mpsc::channel(1);
        tokio::spawn(self.clone().accept(listener, taken));
        ReceiverStream::new(stream)
    }

    async fn accept(
        self,
        listener: TcpListener,
        taken: mpsc::Sender<io::Result<TlsStream<TcpStream>>>,
    ) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        loop {
            let next = async {
                let place = Arc::clone(&handshakes).acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = taken.closed() => return,
                (place, accepted) = next => (place, accepted),
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a peer's connection was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (this, taken) = (self.clone(), taken.clone());
            tokio::spawn(async move {
                match timeout(HANDSHAKE, this.handshake(stream)).await {
                    // Nobody takes it: the server ends.
                    Ok(Ok(stream)) => drop(taken.send(Ok(stream)).await),
                    Ok(Err(error)) => {
                        metrics::counter!("flare_peer_handshakes_refused_total").increment(1);
                        tracing::warn!(%from, %error, "a peer was refused");
                    }
                    Err(_) => {
                        metrics::counter!("flare_peer_handshakes_refused_total").increment(1);
                        tracing::warn!(%from, "a peer did not show its certificate in time");
                    }
                }
                drop(place);
            });
        }
    }

    async fn handshake(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        stream.set_nodelay(true)?;
        self.certificate.refresh().await;
        self.acceptor.accept(stream).await
    }
}
