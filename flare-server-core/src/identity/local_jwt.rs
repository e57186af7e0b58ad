//! JSON web tokens, checked with keys that are at hand.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use flare_proto::ids::{IdError, check_device_id, check_tenant_id, check_user_id};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
    errors::ErrorKind,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    key_file::{KeyFileError, open_or_make_key, open_or_make_listed_key},
    section::{IdentityConfig, TokenAlgorithm},
    token::{
        Claims, DEFAULT_TENANT, MAX_ISSUED_AHEAD_S, MAX_LIFE_S, MAX_TOKEN_BYTES, TokenError,
        TokenValidator,
    },
};
use crate::clock::IdSource;

/// The key id of the deployment's own key.
pub const LOCAL_KEY_ID: &str = "local";

const LOCAL_KEY_FILE: &str = "token.key";
/// The end of the year 9999: a time above it was given in milliseconds.
const LATEST_S: i64 = 253_402_300_799;

/// Checks tokens by HS256 with the deployment's own key, and by EdDSA or RS256 with configured public keys.
///
/// A key is used with one algorithm, its own; what a token names only picks among keys. A token with a key id (`kid`) is checked with
/// that key alone; one without, with every key of its algorithm.
pub struct LocalJwt {
    tenants: BTreeSet<String>,
    leeway_s: i64,
    keys: Vec<Key>,
    local: Option<EncodingKey>,
}

struct Key {
    id: String,
    decoding: DecodingKey,
    validation: Validation,
}

/// Why the keys could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The deployment's own.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A public key's file cannot be read.
    #[error("identity.keys.{id}: {path}: {source}")]
    PublicKeyFile {
        /// The key's id.
        id: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A public key's file holds no such key.
    #[error("identity.keys.{id}: {path} holds no public key for {algorithm:?}: {source}")]
    PublicKey {
        /// The key's id.
        id: String,
        /// The file.
        path: PathBuf,
        /// The algorithm it is configured for.
        algorithm: TokenAlgorithm,
        /// What is wrong with it.
        source: jsonwebtoken::errors::Error,
    },
}

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// `identity.local_key` is off.
    #[error("no token can be made: identity.local_key is off")]
    NoLocalKey,
    /// The tenant, user or device.
    #[error(transparent)]
    Id(#[from] IdError),
    /// Not among `identity.tenants`.
    #[error("tenant {0} is not configured here")]
    UnknownTenant(String),
    /// Under a second, or too long.
    #[error("time to live {0:?}: want a second to 366 days, and an end before the year 10000")]
    TimeToLive(Duration),
    /// The signature failed.
    #[error(transparent)]
    Signature(#[from] jsonwebtoken::errors::Error),
}

#[derive(Serialize)]
struct Minted<'a> {
    sub: &'a str,
    tid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    did: Option<&'a str>,
    iat: i64,
    exp: i64,
}

/// Of any type, so that a wrong one is refused by name. Other claims are passed over.
#[derive(Deserialize)]
struct Given {
    sub: Option<Value>,
    tid: Option<Value>,
    did: Option<Value>,
    iat: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
}

impl LocalJwt {
    /// Reads the keys. The deployment's own is made in `data_folder`, which must be there, unless it has a file configured.
    pub fn open(
        config: &IdentityConfig,
        data_folder: &Path,
        ids: &IdSource,
    ) -> Result<Self, IdentityError> {
        let mut keys = Vec::new();
        let mut local = None;
        if config.local_key {
            let secret = match &config.local_key_file {
                Some(path) => open_or_make_key(path, ids)?,
                None => open_or_make_listed_key(data_folder, LOCAL_KEY_FILE, ids)?,
            };
            keys.push(Key::new(
                LOCAL_KEY_ID,
                Algorithm::HS256,
                DecodingKey::from_secret(&secret),
            ));
            local = Some(EncodingKey::from_secret(&secret));
        }
        for (id, key) in &config.keys {
            let pem = std::fs::read(&key.file).map_err(|source| IdentityError::PublicKeyFile {
                id: id.clone(),
                path: key.file.clone(),
                source,
            })?;
            let (algorithm, decoding) = match key.algorithm {
                TokenAlgorithm::EdDsa => (Algorithm::EdDSA, DecodingKey::from_ed_pem(&pem)),
                TokenAlgorithm::Rs256 => (Algorithm::RS256, DecodingKey::from_rsa_pem(&pem)),
            };
            let decoding = decoding.map_err(|source| IdentityError::PublicKey {
                id: id.clone(),
                path: key.file.clone(),
                algorithm: key.algorithm,
                source,
            })?;
            keys.push(Key::new(id, algorithm, decoding));
        }
        Ok(Self {
            tenants: config.tenants.iter().cloned().collect(),
            leeway_s: i64::try_from(config.leeway_s).unwrap_or(i64::MAX),
            keys,
            local,
        })
    }

    /// A token signed with the deployment's own key, issued at `now_ms` (Unix milliseconds, cut to seconds).
    pub fn mint(
        &self,
        tenant: &str,
        user: &str,
        device: Option<&str>,
        ttl: Duration,
        now_ms: i64,
    ) -> Result<String, MintError> {
        let key = self.local.as_ref().ok_or(MintError::NoLocalKey)?;
        check_tenant_id(tenant)?;
        check_user_id(user)?;
        device.map(check_device_id).transpose()?;
        if !self.tenants.contains(tenant) {
            return Err(MintError::UnknownTenant(tenant.to_owned()));
        }
        let iat = now_ms.div_euclid(1_000);
        let ttl_s = i64::try_from(ttl.as_secs())
            .ok()
            .filter(|it| (1..=MAX_LIFE_S).contains(it));
        let exp = ttl_s
            .and_then(|it| iat.checked_add(it))
            .filter(|it| *it <= LATEST_S);
        let exp = exp.ok_or(MintError::TimeToLive(ttl))?;
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(LOCAL_KEY_ID.to_owned());
        Ok(encode(
            &header,
            &Minted {
                sub: user,
                tid: tenant,
                did: device,
                iat,
                exp,
            },
            key,
        )?)
    }

    fn check(&self, token: &str, now_ms: i64) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong(token.len()));
        }
        let header = decode_header(token).map_err(malformed)?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed(
                "it says that its header has extensions which must be understood".to_owned(),
            ));
        }
        let candidates = self.keys.iter().filter(|key| {
            key.validation.algorithms.contains(&header.alg)
                && header.kid.as_ref().is_none_or(|it| *it == key.id)
        });
        let mut refused = None;
        for key in candidates {
            match decode::<Given>(token, &key.decoding, &key.validation) {
                Ok(data) => return self.read(data.claims, now_ms),
                Err(error) => {
                    refused = Some(match error.kind() {
                        ErrorKind::InvalidSignature => TokenError::BadSignature,
                        _ => malformed(error),
                    });
                }
            }
        }
        Err(refused.unwrap_or_else(|| TokenError::UnknownKey {
            key_id: header.kid.map(|it| it.chars().take(64).collect()),
            algorithm: format!("{:?}", header.alg),
        }))
    }

    fn read(&self, given: Given, now_ms: i64) -> Result<Claims, TokenError> {
        let user = id("sub", given.sub, check_user_id)?.ok_or(TokenError::MissingClaim("sub"))?;
        let tenant =
            id("tid", given.tid, check_tenant_id)?.unwrap_or_else(|| DEFAULT_TENANT.to_owned());
        let device = id("did", given.did, check_device_id)?;
        let expires_s = seconds("exp", given.exp)?.ok_or(TokenError::MissingClaim("exp"))?;
        let issued_s = seconds("iat", given.iat)?.ok_or(TokenError::MissingClaim("iat"))?;
        let now_s = now_ms.div_euclid(1_000);
        if now_s >= expires_s + self.leeway_s {
            return Err(TokenError::Expired { expires_s, now_ms });
        }
        if expires_s.saturating_sub(issued_s) > MAX_LIFE_S {
            return Err(TokenError::BadClaim {
                claim: "exp",
                reason: "want at most 366 days after iat".to_owned(),
            });
        }
        if issued_s > now_s + MAX_ISSUED_AHEAD_S {
            return Err(TokenError::NotYetValid {
                from_s: issued_s,
                now_ms,
            });
        }
        if let Some(from_s) = seconds("nbf", given.nbf)?.filter(|it| *it > now_s + self.leeway_s) {
            return Err(TokenError::NotYetValid { from_s, now_ms });
        }
        if !self.tenants.contains(&tenant) {
            return Err(TokenError::UnknownTenant(tenant));
        }
        Ok(Claims {
            tenant,
            user,
            device,
            expires_s,
            issued_s,
        })
    }
}

#[async_trait]
impl TokenValidator for LocalJwt {
    async fn validate(&self, token: &str, now_ms: i64) -> Result<Claims, TokenError> {
        self.check(token, now_ms)
    }
}

impl Key {
    fn new(id: &str, algorithm: Algorithm, decoding: DecodingKey) -> Self {
        let mut validation = Validation::new(algorithm);
        // The library would ask the machine's clock, and knows none of our claims: it checks the signature, we check the claims.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Self {
            id: id.to_owned(),
            decoding,
            validation,
        }
    }
}

/// The library's messages repeat what the token said.
fn malformed(error: jsonwebtoken::errors::Error) -> TokenError {
    TokenError::Malformed(error.to_string().chars().take(200).collect())
}

fn id(
    claim: &'static str,
    value: Option<Value>,
    check: impl Fn(&str) -> Result<(), IdError>,
) -> Result<Option<String>, TokenError> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => match check(&text) {
            Ok(()) => Ok(Some(text)),
            Err(error) => Err(TokenError::BadClaim {
                claim,
                reason: error.to_string(),
            }),
        },
        Some(_) => Err(TokenError::BadClaim {
            claim,
            reason: "want a string".to_owned(),
        }),
    }
}

/// Whole Unix seconds. Some issuers write fractions, which are cut off.
fn seconds(claim: &'static str, value: Option<Value>) -> Result<Option<i64>, TokenError> {
    let Some(value) = value else { return Ok(None) };
    let cut = || {
        value
            .as_f64()
            .filter(|it| (0.0..=LATEST_S as f64).contains(it))
            .map(|it| it as i64)
    };
    let whole = value
        .as_i64()
        .or_else(cut)
        .filter(|it| (0..=LATEST_S).contains(it));
    whole.map(Some).ok_or_else(|| TokenError::BadClaim {
        claim,
        reason: "want Unix seconds, from 0 to the end of the year 9999".to_owned(),
    })
}
