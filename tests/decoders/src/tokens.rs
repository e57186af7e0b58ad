//! Users' tokens, and the keys by which they are checked.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::LazyLock, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use flare_proto::ids::{check_device_id, check_tenant_id, check_user_id};
use flare_server_core::{
    clock::IdSource,
    error::Refusal,
    identity::{
        IdentityConfig, LocalJwt, MAX_ISSUED_AHEAD_S, MAX_LIFE_S, MAX_TOKEN_BYTES, TokenAlgorithm,
        TokenKeyConfig, TokenValidator, open_or_make_key,
    },
};
use futures::FutureExt;
use jsonwebtoken::{Algorithm, EncodingKey};
use tempfile::TempDir;

/// The time at which tokens are checked.
const NOW_MS: i64 = 1_700_000_000_000;
/// The longest refusal, whatever it repeats of what was sent.
const MOST_REFUSAL_BYTES: usize = 1_024;
/// First byte of an input: the rest is a token's text.
const TEXT: u8 = 0;
/// First byte of an input: the rest is claims, which are signed with the deployment's key under a good header.
const CLAIMS: u8 = 1;
/// First byte of an input: the rest is a header, a line feed and claims, signed with the deployment's key.
const BOTH: u8 = 2;

const PUBLIC_KEYS: [(&str, TokenAlgorithm, &[u8]); 2] = [
    (
        "ed",
        TokenAlgorithm::EdDsa,
        include_bytes!("../../../flare-server-core/tests/identity/ed25519.pub.pem"),
    ),
    (
        "rsa",
        TokenAlgorithm::Rs256,
        include_bytes!("../../../flare-server-core/tests/identity/rsa.pub.pem"),
    ),
];

/// A deployment with keys of every kind.
struct Deployment {
    jwt: LocalJwt,
    secret: EncodingKey,
    config: IdentityConfig,
    /// Every token that it has issued.
    issued: Vec<String>,
    _folder: TempDir,
}

static DEPLOYMENT: LazyLock<Deployment> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let mut keys = BTreeMap::new();
    for (id, algorithm, pem) in PUBLIC_KEYS {
        let file = folder.path().join(format!("{id}.pem"));
        fs::write(&file, pem).expect("written");
        keys.insert(id.to_owned(), TokenKeyConfig { algorithm, file });
    }
    let config = IdentityConfig {
        tenants: vec!["default".to_owned(), "acme".to_owned()],
        keys,
        ..IdentityConfig::default()
    };
    let ids = IdSource::seeded(1);
    let jwt = LocalJwt::open(&config, folder.path(), &ids).expect("good keys");
    let secret = open_or_make_key(&folder.path().join("token.key"), &ids).expect("made before");
    let mint = |tenant, user, device| {
        let hour = Duration::from_secs(3_600);
        jwt.mint(tenant, user, device, hour, NOW_MS)
            .expect("minted")
    };
    let issued = vec![
        mint("default", "alice", None),
        mint("acme", "bob", Some("phone")),
    ];
    Deployment {
        jwt,
        secret: EncodingKey::from_secret(&secret),
        config,
        issued,
        _folder: folder,
    }
});

/// Judges a token: nobody's but the deployment's own are taken, and of those only what the contract of `TokenValidator` allows.
pub fn user_tokens(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else {
        return;
    };
    let deployment = &*DEPLOYMENT;
    let text = match *how {
        CLAIMS => deployment.sign(br#"{"alg":"HS256","kid":"local"}"#, rest),
        BOTH => {
            let line = rest.iter().position(|it| *it == b'\n');
            let (header, claims) = rest.split_at(line.unwrap_or(rest.len()));
            deployment.sign(header, claims.get(1..).unwrap_or_default())
        }
        _ => String::from_utf8_lossy(rest).into_owned(),
    };
    let checked = deployment.jwt.validate(&text, NOW_MS).now_or_never();
    match checked.expect("keys are at hand") {
        Ok(claims) => {
            assert!(text.len() <= MAX_TOKEN_BYTES);
            let is_ours = *how == CLAIMS || *how == BOTH || deployment.issued.contains(&text);
            assert!(is_ours, "a token that nobody has issued is taken: {text}");
            assert_eq!(check_user_id(&claims.user), Ok(()));
            assert_eq!(check_tenant_id(&claims.tenant), Ok(()));
            assert_eq!(
                claims.device.as_deref().map_or(Ok(()), check_device_id),
                Ok(())
            );
            assert!(deployment.config.tenants.contains(&claims.tenant));
            let now_s = NOW_MS / 1_000;
            let leeway_s = i64::try_from(deployment.config.leeway_s).expect("seconds");
            assert!(claims.expires_s + leeway_s > now_s, "{claims:?}");
            assert!(claims.issued_s <= now_s + MAX_ISSUED_AHEAD_S, "{claims:?}");
            assert!(
                claims.expires_s - claims.issued_s <= MAX_LIFE_S,
                "{claims:?}"
            );
        }
        Err(error) => {
            let refusal = Refusal::from(error);
            let length = refusal.message.len() + refusal.field.len();
            assert!(length < MOST_REFUSAL_BYTES, "{length} bytes: {refusal}");
        }
    }
}

impl Deployment {
    /// Bytes for a header and for claims, signed whatever they are.
    fn sign(&self, header: &[u8], claims: &[u8]) -> String {
        let encode = |it| BASE64_URL_SAFE_NO_PAD.encode(it);
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.secret, Algorithm::HS256);
        format!("{message}.{}", signature.expect("signed"))
    }
}

/// Judges a file with a public key, or with the deployment's own: it is opened or refused with its name.
pub fn token_keys(bytes: &[u8]) {
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));
    let Some((how, content)) = bytes.split_first() else {
        return;
    };
    let folder = tempfile::tempdir_in(FOLDER.path()).expect("a folder");
    let file = folder.path().join("key");
    write_for_owner(&file, content);
    let algorithm = match how % 3 {
        0 => None,
        1 => Some(TokenAlgorithm::EdDsa),
        _ => Some(TokenAlgorithm::Rs256),
    };
    let mut config = IdentityConfig {
        local_key: algorithm.is_none(),
        local_key_file: Some(file.clone()),
        ..IdentityConfig::default()
    };
    if let Some(algorithm) = algorithm {
        let key = TokenKeyConfig {
            algorithm,
            file: file.clone(),
        };
        config.keys.insert("k".to_owned(), key);
    }
    match LocalJwt::open(&config, folder.path(), &IdSource::seeded(1)) {
        Ok(jwt) => {
            for token in &DEPLOYMENT.issued {
                let checked = jwt.validate(token, NOW_MS).now_or_never();
                assert!(checked.expect("keys are at hand").is_err());
            }
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains(&*file.to_string_lossy()), "{said}");
            assert!(said.len() < MOST_REFUSAL_BYTES, "{said}");
        }
    }
    assert_eq!(fs::read(&file).expect("still there"), content);
}

fn write_for_owner(file: &PathBuf, content: &[u8]) {
    fs::write(file, content).expect("written");
    #[cfg(unix)]
    {
        let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(file, owner).expect("its own file");
    }
}

/// Tokens that are good, and claims that could be.
pub fn corpus() -> Vec<Vec<u8>> {
    let claims = [
        r#"{"sub":"alice","iat":1700000000,"exp":1700003600}"#,
        r#"{"sub":"bob","tid":"acme","did":"phone","iat":1699999999.5,"exp":1700003600,"nbf":1700000000}"#,
        r#"{"sub":"eve","tid":"other","iat":1700000061,"exp":1800000000}"#,
        r#"{"sub":7,"iat":"x","exp":-1}"#,
    ];
    let headers = [
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"local","typ":"JWT"}"#,
        r#"{"alg":"RS256","kid":"rsa"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"HS256","crit":["b64"],"jwk":{"kty":"oct","k":"AA"}}"#,
    ];
    let mut examples: Vec<Vec<u8>> = DEPLOYMENT
        .issued
        .iter()
        .map(|it| [&[TEXT], it.as_bytes()].concat())
        .collect();
    examples.extend(claims.iter().map(|it| [&[CLAIMS], it.as_bytes()].concat()));
    examples.extend(
        headers
            .iter()
            .map(|it| [&[BOTH], it.as_bytes(), b"\n", claims[0].as_bytes()].concat()),
    );
    examples
}

/// Key files that are good.
pub fn keys_corpus() -> Vec<Vec<u8>> {
    let mut examples = vec![[&[0][..], &[7; 32]].concat()];
    for (number, (_, _, pem)) in (1..).zip(PUBLIC_KEYS) {
        examples.push([&[number], pem].concat());
    }
    examples
}
