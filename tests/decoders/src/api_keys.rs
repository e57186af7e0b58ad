//! Secrets of API keys as callers present them, and what else they say of themselves: scopes, names, senders, hosts.

use flare_core_gateway::domain::{
    api_key::{MAX_NAME_CHARS, SECRET_BYTES, SECRET_PREFIX, Secret, is_name},
    caller::{Actor, Caller, Proof},
    scope::{Scope, Scopes},
};
use flare_proto::ids::check_user_id;
use ulid::Ulid;

/// The longest refusal, whatever it repeats of what was sent.
const MOST_REFUSAL_BYTES: usize = 1_024;

/// Judges a text as a secret, as names of scopes, as a key's name and as the sender whom a key names.
pub fn secrets(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(secret) = Secret::parse(&text) {
        assert_eq!(secret.expose(), text);
        assert!(text.starts_with(SECRET_PREFIX));
        assert_eq!(Secret::parse(secret.expose()), Some(secret.clone()));
        assert!(!format!("{secret:?}").contains(&*text), "a secret is shown");
    }
    match Scopes::parse(text.split(' ')) {
        Ok(scopes) => {
            let written = scopes.to_string();
            assert_eq!(Scopes::parse(written.split(' ')), Ok(scopes));
            assert!(!scopes.is_empty());
        }
        Err(unknown) => assert!(unknown.to_string().len() < MOST_REFUSAL_BYTES),
    }
    if is_name(&text) {
        assert!(text.chars().count() <= MAX_NAME_CHARS);
    }
    let caller = Caller {
        tenant: "default".to_owned(),
        actor: Actor::System,
        proof: Proof::ApiKey {
            id: Ulid::from_parts(1, 1),
            scopes: Scopes::from_iter([Scope::Send]),
        },
    };
    match caller.sending_as(&text) {
        Ok(Actor::ForUser { user }) => assert_eq!(check_user_id(&user), Ok(())),
        Ok(actor) => assert_eq!((actor, &*text), (Actor::System, "")),
        Err(refusal) => assert!(refusal.message.len() < MOST_REFUSAL_BYTES, "{refusal}"),
    }
}

/// A secret, scopes, a name.
pub fn corpus() -> Vec<Vec<u8>> {
    vec![
        Secret::of(&[7; SECRET_BYTES]).expose().into(),
        Scopes::from_iter(Scope::ALL).to_string().into(),
        b"order service".to_vec(),
        b"alice".to_vec(),
    ]
}
