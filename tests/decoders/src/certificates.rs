//! Certificates, keys and authorities, as PEM in files.

use std::{fs, sync::LazyLock};

use flare_core::transport::websocket::Trust;
use flare_server_core::tls::{Certificate, PeerTls, PeerTlsConfig};
use tempfile::TempDir;

/// Stands between the certificate and the key of an input.
const BETWEEN: u8 = 0;
/// The longest refusal, whatever it repeats of what was read.
const MOST_REFUSAL_BYTES: usize = 1_024;

const AUTHORITY: &[u8] = include_bytes!("../examples/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../examples/peer.pem");
const KEY: &[u8] = include_bytes!("../examples/peer-key.pem");

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

/// Judges a certificate and its key.
pub fn pairs(bytes: &[u8]) {
    let folder = tempfile::tempdir_in(FOLDER.path()).expect("a folder");
    let (chain, key) = (
        folder.path().join("chain.pem"),
        folder.path().join("key.pem"),
    );
    let middle = bytes.iter().position(|it| *it == BETWEEN);
    let (chain_pem, key_pem) = bytes.split_at(middle.unwrap_or(bytes.len()));
    fs::write(&chain, chain_pem).expect("written");
    fs::write(&key, key_pem.get(1..).unwrap_or_default()).expect("written");
    match Certificate::open("clients", &chain, &key) {
        Ok(certificate) => {
            let again = Certificate::open("clients", &chain, &key).expect("it was good");
            assert_eq!(again.expires_s(), certificate.expires_s());
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains(&*folder.path().to_string_lossy()), "{said}");
            assert!(said.len() < MOST_REFUSAL_BYTES, "{} bytes", said.len());
        }
    }
}

/// Judges the certificates of authorities, for clients and for peers.
pub fn authorities(bytes: &[u8]) {
    let folder = tempfile::tempdir_in(FOLDER.path()).expect("a folder");
    let write = |name: &str, pem: &[u8]| {
        let file = folder.path().join(name);
        fs::write(&file, pem).expect("written");
        file.to_string_lossy().into_owned()
    };
    let config = PeerTlsConfig {
        ca: write("ca.pem", bytes),
        certificate: write("peer.pem", CERTIFICATE),
        key: write("peer-key.pem", KEY),
    };
    let peers = PeerTls::open(&config);
    let clients = Trust::with_authority(bytes);
    assert_eq!(peers.is_ok(), clients.is_ok(), "who is believed differs");
    if let Err(error) = peers {
        let said = error.to_string();
        assert!(said.contains("ca.pem"), "{said}");
        assert!(said.len() < MOST_REFUSAL_BYTES, "{} bytes", said.len());
    }
    if let Err(error) = clients {
        assert!(error.to_string().len() < MOST_REFUSAL_BYTES);
    }
}

/// A pair that fits.
pub fn corpus() -> Vec<Vec<u8>> {
    let chain = [CERTIFICATE, AUTHORITY].concat();
    vec![
        [CERTIFICATE, &[BETWEEN], KEY].concat(),
        [&chain, &[BETWEEN][..], KEY].concat(),
    ]
}

/// One authority, and two.
pub fn authorities_corpus() -> Vec<Vec<u8>> {
    vec![AUTHORITY.to_vec(), AUTHORITY.repeat(2)]
}
