//! `flare apikey`: works on the data folder or on the cluster's database, beside running servers or without any.

use std::sync::Arc;

use flare_core_gateway::api_keys::{self, ApiKey, ApiKeys, OpenKeys};
use flare_server_core::{
    clock::{IdSource, SystemClock},
    process,
};
use serde::Serialize;

use super::load;
use crate::{cli, output::say};

/// The largest page of keys.
const PAGE: u32 = 200;

#[derive(Debug, Serialize)]
struct Shown {
    key_id: String,
    name: String,
    tenant: String,
    scopes: String,
    created_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl From<ApiKey> for Shown {
    fn from(key: ApiKey) -> Self {
        Self {
            key_id: key.id.to_string(),
            name: key.name,
            tenant: key.tenant,
            scopes: key.scopes.to_string(),
            created_ms: key.created_ms,
            revoked_ms: key.revoked_ms,
            secret: None,
        }
    }
}

async fn open(store: &cli::ApiKeyStore) -> anyhow::Result<OpenKeys> {
    let shape = load(&store.config, &[], None)?.config.base.stands_on();
    let (folder, _) = process::data_folder(&store.data.folder)?;
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(IdSource::from_os()));
    let opened = api_keys::open(&shape, &folder, clock, ids).await;
    opened.map_err(|error| anyhow::anyhow!("{error}"))
}

/// Makes, lists or revokes.
pub async fn run(args: &cli::ApiKey) -> anyhow::Result<()> {
    let (cli::ApiKey::Create { store, .. }
    | cli::ApiKey::List { store, .. }
    | cli::ApiKey::Revoke { store, .. }) = args;
    let open = open(store).await?;
    let done = with(&open.keys, args).await;
    open.close().await;
    done
}

async fn with(keys: &ApiKeys, args: &cli::ApiKey) -> anyhow::Result<()> {
    match args {
        cli::ApiKey::Create {
            name,
            scopes,
            tenant,
            store,
        } => {
            let (key, secret) = keys
                .create(tenant, name, scopes.iter().map(String::as_str))
                .await?;
            let shown = Shown {
                secret: Some(secret.expose().to_owned()),
                ..Shown::from(key)
            };
            if store.json {
                say!("{}", serde_json::to_string(&shown)?);
            } else {
                say!("key id  {}", shown.key_id);
                say!("secret  {}", shown.secret.unwrap_or_default());
                say!("The secret is shown this once: keep it where secrets are kept.");
            }
        }
        cli::ApiKey::List { tenant, store } => {
            let mut page_token = String::new();
            loop {
                let page = keys.list(tenant, Some(PAGE), &page_token).await?;
                for key in page.keys {
                    print(Shown::from(key), store.json)?;
                }
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    return Ok(());
                }
            }
        }
        cli::ApiKey::Revoke {
            key_id,
            tenant,
            store,
        } => {
            keys.revoke(tenant, key_id).await?;
            if store.json {
                say!(
                    "{}",
                    serde_json::json!({ "key_id": key_id, "revoked": true })
                );
            } else {
                say!("{key_id} is worthless from now on");
            }
        }
    }
    Ok(())
}

/// A line a key.
fn print(key: Shown, json: bool) -> anyhow::Result<()> {
    if json {
        say!("{}", serde_json::to_string(&key)?);
    } else {
        let state = if key.revoked_ms.is_some() {
            "revoked"
        } else {
            "good"
        };
        say!(
            "{}  {state:<7}  {:<24}  {}",
            key.key_id,
            key.name,
            key.scopes
        );
    }
    Ok(())
}
