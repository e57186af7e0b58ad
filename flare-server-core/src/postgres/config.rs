//! How each connection begins.

use sqlx::postgres::PgConnectOptions;

use super::PostgresError;
pub use crate::servers::PostgresConfig;

/// How often the server looks whether a client whose statement it runs is still there.
const CLIENT_CHECK_MS: u64 = 2_000;

impl PostgresConfig {
    /// How each connection begins.
    pub(super) fn options(&self) -> Result<PgConnectOptions, PostgresError> {
        if self.url.is_empty() {
            return Err(PostgresError::Url("is not set".to_owned()));
        }
        let options = self.url.expose().parse::<PgConnectOptions>();
        let options =
            options.map_err(|_| PostgresError::Url("is none of PostgreSQL".to_owned()))?;
        Ok(options.application_name("flare").options([
            ("statement_timeout", self.statement_timeout_ms),
            ("lock_timeout", self.lock_timeout_ms),
            // The locks of a process that was stopped in the middle would keep all others waiting.
            (
                "idle_in_transaction_session_timeout",
                self.statement_timeout_ms,
            ),
            ("client_connection_check_interval", CLIENT_CHECK_MS),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Secret, mistakes_of},
        postgres::place,
    };

    #[test]
    fn the_defaults_are_valid_and_name_no_server() {
        let config = PostgresConfig::default();
        assert!(mistakes_of(&config).is_empty());
        let refused = config.options().err().map(|it| it.to_string());
        assert_eq!(refused.as_deref(), Some("postgres: the url is not set"));
    }

    #[test]
    fn what_is_said_of_a_url_is_not_its_password() {
        for url in [
            "postgres://flare:geheim@h:notaport/im",
            "mysql://flare:geheim",
            "geheim",
        ] {
            let config = PostgresConfig {
                url: Secret::new(url),
                ..PostgresConfig::default()
            };
            let mistakes = format!("{:?}", mistakes_of(&config));
            assert!(
                mistakes.contains("url") && !mistakes.contains("geheim"),
                "{mistakes}"
            );
        }
        let config = PostgresConfig {
            url: Secret::new("postgres://flare:geheim@h:77/im"),
            ..PostgresConfig::default()
        };
        let options = config.options().unwrap();
        assert_eq!(place(&options), "h:77/im");
    }
}
