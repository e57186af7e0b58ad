//! Tokens: the contract of `TokenValidator` for each algorithm of `LocalJwt`, and what is its own.

#![expect(clippy::unwrap_used, reason = "tests")]

mod contract;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use contract::{NOW_S, Subject, claims, token_validator_contract};
use flare_server_core::{
    clock::IdSource,
    identity::{
        Claims, IdentityConfig, IdentityError, LocalJwt, MintError, TokenAlgorithm, TokenError,
        TokenKeyConfig, TokenValidator, open_or_make_key,
    },
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::Value;

const ED25519: &[u8] = include_bytes!("ed25519.pem");
const ED25519_OTHER: &[u8] = include_bytes!("ed25519_other.pem");
const RSA: &[u8] = include_bytes!("rsa.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("rsa.pub.pem");

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/identity")
        .join(name)
}

fn key(id: &str, algorithm: TokenAlgorithm, file: &str) -> (String, TokenKeyConfig) {
    (
        id.to_owned(),
        TokenKeyConfig {
            algorithm,
            file: fixture(file),
        },
    )
}

fn config() -> IdentityConfig {
    IdentityConfig {
        tenants: vec!["default".to_owned(), "acme".to_owned()],
        keys: BTreeMap::from([
            key("ed", TokenAlgorithm::EdDsa, "ed25519.pub.pem"),
            key("ed-next", TokenAlgorithm::EdDsa, "ed25519_other.pub.pem"),
            key("rsa", TokenAlgorithm::Rs256, "rsa.pub.pem"),
        ]),
        ..IdentityConfig::default()
    }
}

fn open(config: &IdentityConfig, folder: &Path) -> LocalJwt {
    LocalJwt::open(config, folder, &IdSource::seeded(1)).unwrap()
}

fn sign(algorithm: Algorithm, key_id: Option<&str>, key: &EncodingKey, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = key_id.map(str::to_owned);
    encode(&header, claims, key).unwrap()
}

fn subject(
    folder: &Path,
    algorithm: Algorithm,
    key_id: Option<&'static str>,
    key: EncodingKey,
) -> Subject {
    let validator = Arc::new(open(&config(), folder));
    Subject {
        validator,
        sign: Box::new(move |claims| sign(algorithm, key_id, &key, claims)),
    }
}

fn local_secret(folder: &Path) -> EncodingKey {
    let key = open_or_make_key(&folder.join("token.key"), &IdSource::seeded(1)).unwrap();
    EncodingKey::from_secret(&key)
}

fn by_local_key(folder: &Path) -> Subject {
    subject(
        folder,
        Algorithm::HS256,
        Some("local"),
        local_secret(folder),
    )
}

fn by_eddsa(folder: &Path) -> Subject {
    subject(
        folder,
        Algorithm::EdDSA,
        Some("ed"),
        EncodingKey::from_ed_pem(ED25519).unwrap(),
    )
}

fn by_rs256(folder: &Path) -> Subject {
    subject(
        folder,
        Algorithm::RS256,
        None,
        EncodingKey::from_rsa_pem(RSA).unwrap(),
    )
}

token_validator_contract!(hs256, by_local_key);
token_validator_contract!(eddsa, by_eddsa);
token_validator_contract!(rs256_without_a_key_id, by_rs256);

async fn validate(jwt: &LocalJwt, token: &str) -> Result<Claims, TokenError> {
    jwt.validate(token, NOW_S * 1_000).await
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let jwt = open(&config(), folder.path());
    let forged = EncodingKey::from_secret(RSA_PUBLIC);
    for id in [Some("rsa"), Some("ed"), None] {
        let token = sign(Algorithm::HS256, id, &forged, &claims());
        let error = validate(&jwt, &token).await.unwrap_err();
        assert!(
            matches!(
                error,
                TokenError::UnknownKey { .. } | TokenError::BadSignature
            ),
            "{id:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_key_is_used_with_its_own_algorithm_alone() {
    let folder = tempfile::tempdir().unwrap();
    let jwt = open(&config(), folder.path());
    let (rsa, secret) = (
        EncodingKey::from_rsa_pem(RSA).unwrap(),
        local_secret(folder.path()),
    );
    for (algorithm, key, id) in [
        (Algorithm::RS384, &rsa, Some("rsa")),
        (Algorithm::PS256, &rsa, None),
        (Algorithm::HS512, &secret, Some("local")),
        (Algorithm::RS256, &rsa, Some("ed")),
        (Algorithm::HS256, &secret, Some("other")),
    ] {
        let token = sign(algorithm, id, key, &claims());
        let expected = TokenError::UnknownKey {
            key_id: id.map(str::to_owned),
            algorithm: format!("{algorithm:?}"),
        };
        assert_eq!(validate(&jwt, &token).await, Err(expected));
    }
}

#[tokio::test]
async fn keys_change_while_tokens_of_both_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (
        EncodingKey::from_ed_pem(ED25519).unwrap(),
        EncodingKey::from_ed_pem(ED25519_OTHER).unwrap(),
    );
    let both = open(&config(), folder.path());
    for (id, key) in [
        (Some("ed"), &old),
        (Some("ed-next"), &new),
        (None, &old),
        (None, &new),
    ] {
        assert!(
            validate(&both, &sign(Algorithm::EdDSA, id, key, &claims()))
                .await
                .is_ok(),
            "{id:?}"
        );
    }
    let crossed = sign(Algorithm::EdDSA, Some("ed-next"), &old, &claims());
    assert_eq!(
        validate(&both, &crossed).await,
        Err(TokenError::BadSignature)
    );
    let mut config = config();
    config.keys.remove("ed");
    let after = open(&config, folder.path());
    assert!(
        validate(&after, &sign(Algorithm::EdDSA, Some("ed"), &old, &claims()))
            .await
            .is_err()
    );
    assert!(
        validate(
            &after,
            &sign(Algorithm::EdDSA, Some("ed-next"), &new, &claims())
        )
        .await
        .is_ok()
    );
}

#[tokio::test]
async fn a_header_with_extensions_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let jwt = open(&config(), folder.path());
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["b64".to_owned()]);
    let token = encode(&header, &claims(), &local_secret(folder.path())).unwrap();
    assert!(matches!(
        validate(&jwt, &token).await,
        Err(TokenError::Malformed(_))
    ));
}

#[tokio::test]
async fn a_minted_token_is_valid_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let token = open(&config(), folder.path())
        .mint(
            "acme",
            "alice",
            Some("phone"),
            Duration::from_secs(60),
            NOW_S * 1_000 + 999,
        )
        .unwrap();
    let restarted = LocalJwt::open(&config(), folder.path(), &IdSource::seeded(2)).unwrap();
    let claims = validate(&restarted, &token).await.unwrap();
    assert_eq!(
        (&*claims.tenant, &*claims.user, claims.device.as_deref()),
        ("acme", "alice", Some("phone"))
    );
    assert_eq!((claims.issued_s, claims.expires_s), (NOW_S, NOW_S + 60));
}

#[tokio::test]
async fn a_deployment_s_key_may_stand_in_another_place() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = IdentityConfig {
        local_key_file: Some(other.path().join("shared.key")),
        ..config()
    };
    let token = open(&shared, folder.path())
        .mint("acme", "a", None, Duration::from_secs(60), NOW_S * 1_000)
        .unwrap();
    assert!(
        validate(&open(&shared, Path::new("nowhere")), &token)
            .await
            .is_ok()
    );
    let own = LocalJwt::open(&config(), folder.path(), &IdSource::seeded(2)).unwrap();
    assert_eq!(validate(&own, &token).await, Err(TokenError::BadSignature));
}

#[test]
fn a_token_that_would_be_refused_is_not_minted() {
    let folder = tempfile::tempdir().unwrap();
    let jwt = open(&config(), folder.path());
    let mint = |tenant, user, device, ttl_s| {
        jwt.mint(
            tenant,
            user,
            device,
            Duration::from_secs(ttl_s),
            NOW_S * 1_000,
        )
    };
    assert!(matches!(
        mint("acme", "a/b", None, 60),
        Err(MintError::Id(_))
    ));
    assert!(matches!(
        mint("acme", "a", Some(""), 60),
        Err(MintError::Id(_))
    ));
    assert!(matches!(
        mint("rival", "a", None, 60),
        Err(MintError::UnknownTenant(_))
    ));
    assert!(matches!(
        mint("acme", "a", None, 0),
        Err(MintError::TimeToLive(_))
    ));
    assert!(matches!(
        mint("acme", "a", None, u64::MAX),
        Err(MintError::TimeToLive(_))
    ));
    let without = IdentityConfig {
        local_key: false,
        ..config()
    };
    let error = open(&without, folder.path())
        .mint("acme", "a", None, Duration::from_secs(60), 0)
        .unwrap_err();
    assert!(matches!(error, MintError::NoLocalKey));
}

#[test]
fn a_public_key_that_cannot_be_used_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    for (algorithm, file) in [
        (TokenAlgorithm::Rs256, "ed25519.pub.pem"),
        (TokenAlgorithm::EdDsa, "main.rs"),
    ] {
        let config = IdentityConfig {
            keys: BTreeMap::from([key("k", algorithm, file)]),
            ..config()
        };
        let error = LocalJwt::open(&config, folder.path(), &IdSource::seeded(1))
            .err()
            .unwrap();
        assert!(matches!(error, IdentityError::PublicKey { .. }), "{error}");
        assert!(error.to_string().contains(file), "{error}");
    }
    let config = IdentityConfig {
        keys: BTreeMap::from([key("k", TokenAlgorithm::EdDsa, "no.pem")]),
        ..config()
    };
    let error = LocalJwt::open(&config, folder.path(), &IdSource::seeded(1))
        .err()
        .unwrap();
    assert!(
        matches!(error, IdentityError::PublicKeyFile { .. }),
        "{error}"
    );
}
