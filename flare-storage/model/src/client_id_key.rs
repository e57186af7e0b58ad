//! Client ids as keys of tables.

use crate::{
    command_id::{IdKey, minted_ms},
    logged_event::LoggedEvent,
};

/// The key of a client id: its minting time if it tells one, else zeros, then the digest. Ids of now lie together at the end, where tables
/// are warm; by the digest alone each look-up and each write would touch another page.
pub(crate) type ClientIdKey = [u8; 22];

/// The key of the client id that made the event; none for an event that follows from another one's command.
pub(crate) fn client_id_of(event: &LoggedEvent) -> Option<ClientIdKey> {
    event
        .id_digest()
        .map(|digest| client_id(&event.header().client_id, digest))
}

/// The key of a command's client id.
pub(crate) fn client_id_of_key(key: &IdKey) -> ClientIdKey {
    client_id(&key.client_id, key.digest())
}

fn client_id(client_id: &str, digest: [u8; 16]) -> ClientIdKey {
    let mut key = [0; 22];
    if let Some(minted) = minted_ms(client_id) {
        // A minting time has 48 bits.
        key[..6].copy_from_slice(&minted.to_be_bytes()[2..]);
    }
    key[6..].copy_from_slice(&digest);
    key
}
