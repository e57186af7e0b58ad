//! How `chat`, `send` and `tail` reach a server as a user.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use flare_core_sdk::{Options, TokenFuture, TokenProvider, TokenSource, Trust};
use flare_server_core::identity::DEFAULT_TENANT;

use super::token;
use crate::cli;

/// How long a token is good that a command makes for itself: it makes another in time.
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);

/// The token that is given, or one made for `--user` with the data folder's key.
pub fn token_or_make(args: &cli::Client) -> anyhow::Result<String> {
    match (&args.token, &args.user) {
        (Some(token), _) => Ok(token.clone()),
        (None, Some(user)) => Maker::of(args, user)?.make(),
        (None, None) => {
            bail!("as whom? give --token, or --user on the machine of the server's data folder")
        }
    }
}

/// What a client of this command line starts with.
pub fn options(args: &cli::Client) -> anyhow::Result<Options> {
    let first = token_or_make(args)?;
    let source = match (&args.token, &args.user) {
        (None, Some(user)) => TokenSource::Provider(Arc::new(Maker::of(args, user)?)),
        _ => TokenSource::Fixed(first),
    };
    let mut options = Options::new(&args.link.url, source, &args.device);
    options.platform = "terminal".to_owned();
    options.trust = trust(args.link.ca.as_deref())?;
    Ok(options)
}

/// Whose certificates are believed: the public authorities', and that of `--ca`.
pub fn trust(ca: Option<&Path>) -> anyhow::Result<Trust> {
    let Some(file) = ca else {
        return Ok(Trust::public());
    };
    let cannot = || format!("--ca {}", file.display());
    let pem = std::fs::read(file).with_context(cannot)?;
    Trust::with_authority(&pem).with_context(cannot)
}

/// Makes tokens with the data folder's key, as long as the command runs.
struct Maker {
    data: PathBuf,
    user: String,
    device: String,
}

impl Maker {
    fn of(args: &cli::Client, user: &str) -> anyhow::Result<Self> {
        // Looked for first, so that a mistyped folder is not made, with a key that no server knows.
        if !args.data.folder.is_dir() {
            bail!(
                "{} is no data folder of a server: give --data, or --token",
                args.data.folder.display()
            );
        }
        Ok(Self {
            data: args.data.folder.clone(),
            user: user.to_owned(),
            device: args.device.clone(),
        })
    }

    fn make(&self) -> anyhow::Result<String> {
        token::mint(
            &self.data,
            DEFAULT_TENANT,
            &self.user,
            Some(&self.device),
            TOKEN_LIFE,
        )
    }
}

impl TokenProvider for Maker {
    fn token(&self, _refused: bool) -> TokenFuture {
        let made = self.make().map_err(|error| format!("{error:#}"));
        Box::pin(async move { made })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(token: Option<&str>, user: Option<&str>, data: &str) -> cli::Client {
        cli::Client {
            link: cli::LinkAddress {
                url: "ws://127.0.0.1:1/ws".to_owned(),
                ca: None,
            },
            token: token.map(str::to_owned),
            user: user.map(str::to_owned),
            device: "terminal".to_owned(),
            data: cli::DataFolder {
                folder: data.into(),
            },
        }
    }

    #[test]
    fn a_given_token_is_taken_and_without_one_a_user_is_needed() {
        assert_eq!(
            token_or_make(&client(Some("t"), Some("alice"), "nowhere")).unwrap(),
            "t"
        );
        let error = token_or_make(&client(None, None, "nowhere")).unwrap_err();
        assert!(error.to_string().contains("--user"), "{error}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error =
            token_or_make(&client(None, Some("alice"), &missing.to_string_lossy())).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
        assert!(!missing.exists());
    }

    #[test]
    fn a_token_is_made_for_the_user_and_the_device() {
        let folder = tempfile::tempdir().unwrap();
        let made = token_or_make(&client(
            None,
            Some("alice"),
            &folder.path().to_string_lossy(),
        ))
        .unwrap();
        assert_eq!(made.split('.').count(), 3, "{made}");
    }
}
