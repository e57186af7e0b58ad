//! A way through TLS for HTTP clients that do not speak it.

use std::{net::SocketAddr, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;

use crate::authority::Authority;

/// Passes on, to `to`, what comes to the address that this gives, as long as the runtime lasts.
pub(crate) async fn open(authority: &Authority, to: SocketAddr) -> anyhow::Result<SocketAddr> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&authority.pem()?)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            // Whoever asked sees that his connection ends.
            tokio::spawn(pass(near, connector.clone(), to));
        }
    });
    Ok(at)
}

async fn pass(mut near: TcpStream, connector: TlsConnector, to: SocketAddr) -> anyhow::Result<()> {
    let far = TcpStream::connect(to).await?;
    let mut far = connector.connect(ServerName::from(to.ip()), far).await?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}
