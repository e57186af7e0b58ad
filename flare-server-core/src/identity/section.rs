//! The section `identity`.

use std::{collections::BTreeMap, path::PathBuf};

use flare_proto::ids::check_tenant_id;

use super::{local_jwt::LOCAL_KEY_ID, token::DEFAULT_TENANT};

crate::choice! {
    /// How a token of somebody else's is signed.
    pub enum TokenAlgorithm {
        /// Ed25519.
        EdDsa = "EdDSA",
        /// RSA with SHA-256.
        Rs256 = "RS256",
    }
}

crate::section! {
    /// A public key of somebody who signs tokens.
    pub struct TokenKeyConfig {
        /// The only algorithm that the key is used with, whatever a token says.
        pub algorithm: TokenAlgorithm = TokenAlgorithm::EdDsa,
        /// The public key as a PEM file.
        pub file: PathBuf = PathBuf::new(),
    }
    validate(key, at) {
        at.require(!key.file.as_os_str().is_empty(), "file", "want the path of a PEM file");
    }
}

crate::section! {
    /// Whose tokens are taken.
    pub struct IdentityConfig {
        /// The tenants there are. A token that names none is of `default`.
        pub tenants: Vec<String> = vec![DEFAULT_TENANT.to_owned()],
        /// Whether tokens signed by HS256 with a secret key of this deployment are taken, and made by `flare token`.
        pub local_key: bool = true,
        /// The file of that key, 32 bytes, made at the first start. Not set: `token.key` in the data folder.
        pub local_key_file: Option<PathBuf> = None,
        /// Public keys of others who sign tokens, by the key id (`kid`) that their tokens bear. Several at once allow a change of keys.
        pub keys: BTreeMap<String, TokenKeyConfig> = BTreeMap::new(),
        /// A token is taken for as long after its expiry: clocks differ. At most 60.
        pub leeway_s: u64 = 5,
    }
    validate(identity, at) {
        at.require(!identity.tenants.is_empty(), "tenants", "want one tenant or more");
        for (index, tenant) in identity.tenants.iter().enumerate() {
            if let Err(error) = check_tenant_id(tenant) {
                at.add(&format!("tenants.{index}"), error.why);
            }
        }
        at.require(identity.local_key || !identity.keys.is_empty(), "keys", "without the local key, want one key or more");
        at.require(identity.leeway_s <= 60, "leeway_s", "must be 60 or less");
        if identity.keys.contains_key(LOCAL_KEY_ID) {
            at.within("keys", |at| at.add(LOCAL_KEY_ID, "this key id is the local key's"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::mistakes_of;

    #[test]
    fn each_rule_names_its_key() {
        assert_eq!(mistakes_of(&IdentityConfig::default()), []);
        let wrong = IdentityConfig {
            tenants: vec!["default".to_owned(), "Acme".to_owned()],
            keys: BTreeMap::from([(LOCAL_KEY_ID.to_owned(), TokenKeyConfig::default())]),
            leeway_s: 61,
            ..IdentityConfig::default()
        };
        let keys: Vec<_> = mistakes_of(&wrong)
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(
            keys,
            ["tenants.1", "leeway_s", "keys.local", "keys.local.file"]
        );
        let nobody = IdentityConfig {
            tenants: Vec::new(),
            local_key: false,
            ..IdentityConfig::default()
        };
        let keys: Vec<_> = mistakes_of(&nobody)
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(keys, ["tenants", "keys"]);
    }
}
