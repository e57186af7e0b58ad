//! Connections that come, encrypted or not.

use std::{io, sync::Arc};

use rustls::{
    ConfigBuilder, ServerConfig, WantsVerifier,
    crypto::ring::Ticketer,
    server::{ResolvesServerCert, WantsServerCert},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::either::Either;

use super::{Certificate, provider};

/// A connection, encrypted or not.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Takes connections, and begins TLS on them where there is a certificate.
#[derive(Clone, Default)]
pub struct Acceptor {
    tls: Option<(TlsAcceptor, Arc<Certificate>)>,
}

impl Acceptor {
    /// With `certificate` connections are encrypted and speak one of `protocols` (ALPN) or none; without they stay as they are.
    pub fn new(certificate: Option<Arc<Certificate>>, protocols: &[&str]) -> Self {
        let tls = certificate.map(|certificate| {
            let builder = server_builder().with_no_client_auth();
            (
                TlsAcceptor::from(config(builder, &certificate, protocols)),
                certificate,
            )
        });
        Self { tls }
    }

    /// Whether connections are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Begins a connection. Give it a deadline: a silent client is waited for.
    ///
    /// # Errors
    /// If the client does not speak TLS as wanted, or breaks off.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let Some((acceptor, certificate)) = &self.tls else {
            return Ok(Either::Left(stream));
        };
        certificate.refresh().await;
        // Its state is large, and of no use to connections without it.
        let stream = Box::new(acceptor.accept(stream).await?);
        Ok(Either::Right(stream))
    }
}

/// The beginning of a server's settings.
pub(super) fn server_builder() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    // The suites are the provider's own, which fit both versions; only a set that fits neither would be refused.
    #[expect(clippy::expect_used, reason = "ring has suites for TLS 1.2 and 1.3")]
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring's suites")
}

/// The rest of them: the certificate as it is at each handshake, and ALPN.
pub(super) fn config(
    builder: ConfigBuilder<ServerConfig, WantsServerCert>,
    certificate: &Arc<Certificate>,
    protocols: &[&str],
) -> Arc<ServerConfig> {
    let mut config =
        builder.with_cert_resolver(Arc::clone(certificate) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    match Ticketer::new() {
        // Clients that come again, thousands at once after a restart of a proxy, resume without a place in our memory.
        Ok(ticketer) => config.ticketer = ticketer,
        Err(error) => tracing::warn!(%error, "connections are resumed from memory only"),
    }
    Arc::new(config)
}
