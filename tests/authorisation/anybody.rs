//! What is shown to anybody: it says nothing of users, conversations or messages.

use flare_core_gateway::handler::http::routes::{CLIENT_CONFIG_PATH, DOCS_PATH, OPENAPI_PATH};

use crate::{
    ground::Ground,
    surfaces::{answer::Answer, message::Headers},
};

/// The paths, and what they show.
pub(crate) const OPEN: [(&str, &str); 4] = [
    ("/", "the web page, and its files"),
    (CLIENT_CONFIG_PATH, "where clients connect"),
    (OPENAPI_PATH, "the HTTP API's description"),
    (DOCS_PATH, "the page over it"),
];

/// What is not shown to somebody without a credential, though it should be.
pub(crate) async fn all(ground: &Ground) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (path, _) in OPEN {
        let answer = ground.api.http("GET", path, &Headers::new(), &[]).await?;
        if let Answer::Refused(error) = answer {
            wrong.push(format!("{path}: {}", error.message));
        }
    }
    Ok(wrong)
}
