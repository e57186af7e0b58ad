//! Mutual TLS between processes, and certificates in files that change.

#![expect(clippy::expect_used, reason = "tests")]

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use flare_server_core::{
    telemetry,
    tls::{Acceptor, Certificate, PEER_NAME, PeerTls, PeerTlsConfig, Stream, TlsConfig},
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;
use tonic::{
    body::Body,
    service::Routes,
    transport::{Endpoint, Server},
};
use tower::{Service, ServiceExt};

const SOON: Duration = Duration::from_secs(20);
/// What a server does, and what a peer does.
const SERVER: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ServerAuth];
const PEER: &[ExtendedKeyUsagePurpose] = &[
    ExtendedKeyUsagePurpose::ServerAuth,
    ExtendedKeyUsagePurpose::ClientAuth,
];

/// An authority, and a folder of what it has signed.
struct Signer {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Signer {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).expect("signed");
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("written");
        Self {
            issuer: Issuer::new(params, key),
            folder,
        }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    /// Signs a certificate of this name into `file`.pem, and its key into `file`-key.pem.
    fn signs(&self, file: &str, name: &str, usages: &[ExtendedKeyUsagePurpose]) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.extended_key_usages = usages.to_vec();
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let write = |name: String, text: String| fs::write(name, text).expect("written");
        write(self.file(&format!("{file}-key.pem")), key.serialize_pem());
        write(self.file(&format!("{file}.pem")), certificate.pem());
    }

    /// A peer that shows `file` and believes this authority.
    fn peer(&self, file: &str) -> PeerTls {
        self.peer_that_believes(file, self)
    }

    fn peer_that_believes(&self, file: &str, other: &Self) -> PeerTls {
        let config = PeerTlsConfig {
            ca: other.file("ca.pem"),
            certificate: self.file(&format!("{file}.pem")),
            key: self.file(&format!("{file}-key.pem")),
        };
        PeerTls::open(&config).expect("it opens").expect("it is on")
    }

    fn certificate(&self, file: &str) -> Certificate {
        let name = |it: &str| self.file(&format!("{file}{it}.pem"));
        Certificate::open("test", name("").as_ref(), name("-key").as_ref()).expect("it opens")
    }
}

/// Answers peers; there is no service.
async fn serves(tls: PeerTls) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    let server = Server::builder().add_routes(Routes::default());
    tokio::spawn(server.serve_with_incoming(tls.incoming(listener)));
    at
}

/// Whether a call is answered, if only by that there is no such service.
async fn reaches(tls: &PeerTls, at: SocketAddr) -> bool {
    let endpoint = Endpoint::from_shared(format!("https://{at}")).expect("a URI");
    let mut channel = tls.secured(endpoint).expect("secured").connect_lazy();
    let request = http::Request::post(format!("https://{at}/no.Service/Call"))
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .body(Body::empty())
        .expect("a request");
    let call = async {
        channel.ready().await?;
        channel.call(request).await
    };
    let answer = timeout(SOON, call).await.expect("an answer");
    answer.is_ok_and(|it| {
        it.headers()
            .get("grpc-status")
            .is_some_and(|code| code == "12")
    })
}

#[tokio::test]
async fn peers_of_one_authority_reach_each_other_and_nobody_else_does() {
    let (ours, others) = (Signer::new(), Signer::new());
    for signer in [&ours, &others] {
        signer.signs("peer", PEER_NAME, PEER);
    }
    ours.signs("server", PEER_NAME, SERVER);
    ours.signs("elsewhere", "another-name", PEER);
    let at = serves(ours.peer("peer")).await;
    assert!(reaches(&ours.peer("peer"), at).await);
    // A foreign one that believes us; a certificate for clients alone.
    assert!(!reaches(&others.peer_that_believes("peer", &ours), at).await);
    assert!(!reaches(&ours.peer("server"), at).await);
    // One that we do not believe; one that is not called as peers are.
    let foreign = serves(others.peer_that_believes("peer", &ours)).await;
    assert!(!reaches(&ours.peer("peer"), foreign).await);
    let misnamed = serves(ours.peer("elsewhere")).await;
    assert!(!reaches(&ours.peer("peer"), misnamed).await);
    // In the clear.
    let mut stream = TcpStream::connect(at).await.expect("connected");
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .expect("written");
    let mut answer = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .expect("let go");
    assert!(!answer.windows(3).any(|it| it == [0, 0, 0]), "{answer:?}");
}

#[tokio::test]
async fn a_peer_s_certificate_that_changes_is_shown_from_then_on() {
    let ours = Signer::new();
    ours.signs("peer", PEER_NAME, PEER);
    let tls = ours.peer("peer");
    assert_eq!(tls.generation(), 0);
    ours.signs("peer", PEER_NAME, PEER);
    until(|| {
        tls.refresh();
        tls.generation() == 1
    })
    .await;
    let at = serves(tls.clone()).await;
    assert!(reaches(&tls, at).await);
}

#[tokio::test]
async fn a_key_that_does_not_fit_changes_nothing() {
    let ours = Signer::new();
    ours.signs("server", "localhost", SERVER);
    let certificate = ours.certificate("server");
    let expires = certificate.expires_s();
    assert!(expires > 0);
    let key = ours.file("server-key.pem");
    let kept = fs::read(&key).expect("a key");
    fs::write(&key, "no key").expect("written");
    let acceptor = Acceptor::new(Some(Arc::new(certificate)), &[]);
    let (recorder, metrics) = telemetry::recorder();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let refused = r#"flare_tls_reloads_total{certificate="test",outcome="refused"} 1"#;
    let deadline = Instant::now() + SOON;
    while !metrics.render().contains(refused) {
        assert!(Instant::now() < deadline, "it was never looked at");
        assert!(shows_a_certificate(&acceptor, &ours).await);
    }
    fs::write(&key, kept).expect("written");
    assert!(shows_a_certificate(&acceptor, &ours).await);
}

/// Whether a client that believes `signer` gets an encrypted connection.
async fn shows_a_certificate(acceptor: &Acceptor, signer: &Signer) -> bool {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(signer.file("ca.pem")).expect("an authority");
    roots.add(authority).expect("an authority");
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    let served = async {
        let (stream, _) = listener.accept().await.expect("a client");
        acceptor.accept(stream).await
    };
    let connected = async {
        let stream = TcpStream::connect(at).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(client))
            .connect(name, stream)
            .await
    };
    let (served, connected) = tokio::join!(served, connected);
    matches!(served, Ok(Stream::Right(_))) && connected.is_ok()
}

#[test]
fn files_that_are_of_no_use_are_named() {
    let ours = Signer::new();
    ours.signs("server", "localhost", SERVER);
    ours.signs("other", "localhost", SERVER);
    let open = |certificate: &str, key: &str| {
        let config = TlsConfig {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        config.open().expect_err("refused").to_string()
    };
    let (server, key) = (ours.file("server.pem"), ours.file("server-key.pem"));
    assert!(open("/nowhere.pem", &key).starts_with("/nowhere.pem: "));
    assert!(open(&server, "/nowhere.pem").starts_with("/nowhere.pem: "));
    assert!(open(&key, &key).contains("holds no certificate"));
    assert!(open(&server, &server).contains("holds no private key"));
    let other = open(&server, &ours.file("other-key.pem"));
    assert!(other.contains("is no key of"), "{other}");
    let peers = PeerTlsConfig {
        ca: key.clone(),
        certificate: server,
        key,
    };
    let error = PeerTls::open(&peers).map(drop).expect_err("refused");
    assert!(
        error
            .to_string()
            .contains("holds no certificate of an authority"),
        "{error}"
    );
    assert!(Path::new(&peers.ca).exists());
}

async fn until(is_so: impl Fn() -> bool) {
    timeout(SOON, async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it becomes so");
}
