//! Identifiers of every kind, and the trace ids of headers.

use flare_core::{codec::Codec, transport::websocket::OriginRule};
use flare_proto::{ids, is_client_callable};
use flare_server_core::telemetry::TraceId;
use flare_storage_model::{ConversationKey, direct_conversation_id, minted_ms, partition_of};

/// The longest refusal, whatever it repeats of what was sent.
const MOST_REFUSAL_BYTES: usize = 1_024;
const PARTITIONS: u32 = 64;

/// Judges a text as each of them: rules do not contradict each other, and what is taken can be kept.
pub fn identifiers(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let text = &*text;
    let user = ids::check_user_id(text);
    assert_eq!(ids::check_device_id(text).is_ok(), user.is_ok());
    if ids::check_tenant_id(text).is_ok() {
        assert!(text.len() <= ids::MAX_TENANT_ID_BYTES && text.is_ascii());
    }
    let is_service = text.starts_with(ids::SERVICE_CLIENT_ID_PREFIX);
    assert_eq!(
        ids::check_client_id(text).is_ok(),
        user.is_ok() && !is_service
    );
    let group = ids::check_group_id(text);
    assert_eq!(group.is_ok(), user.is_ok() && !ids::is_direct(text));
    let conversation = ids::check_conversation_id(text);
    assert!(conversation.is_ok() || group.is_err());
    if conversation.is_ok() {
        let key = ConversationKey::new("default", text);
        assert!(partition_of(&key, PARTITIONS) < PARTITIONS);
        let mut encoded = Vec::new();
        key.encode_to(&mut encoded);
        assert_eq!(encoded.len(), 2 + "default".len() + text.len());
    }
    if let Err(error) = user {
        assert!(error.to_string().len() < MOST_REFUSAL_BYTES);
    } else {
        let direct = direct_conversation_id("default", text, "bob");
        assert_eq!(ids::check_conversation_id(&direct), Ok(()));
        assert_eq!(direct, direct_conversation_id("default", "bob", text));
    }
    if let Ok(id) = text.parse::<TraceId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Some(id) = TraceId::from_traceparent(text) {
        assert!(text.contains(&id.to_string()));
    }
    if let Some(id) = TraceId::from_slice(bytes) {
        assert_eq!(id.as_bytes(), bytes);
    }
    // A minting time has 48 bits.
    assert!(minted_ms(text).is_none_or(|it| it < 1 << 48));
    if is_client_callable(text) {
        assert!(text.contains('/'));
    }
    if let Some(codec) = Codec::from_subprotocol(text) {
        assert_eq!(codec.subprotocol(), text);
    }
    // Schemes and hosts are the same in whatever case.
    const ORIGIN: &str = "https://chat.example";
    let listed = OriginRule::Listed(vec![ORIGIN.to_owned()]);
    assert_eq!(listed.allows(text), text.eq_ignore_ascii_case(ORIGIN));
}

/// One of each.
pub fn corpus() -> Vec<Vec<u8>> {
    [
        "alice",
        "default",
        "A.b_c:d@e+f=g~h-1",
        &direct_conversation_id("default", "alice", "bob"),
        "flare:outbox:7",
        "0af7651916cd43dd8448eb211c80319c",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "0190163d-8694-739b-aea5-966c26f8ad91",
        "flare.session.v1.SessionService/SyncInbox",
        "flare.v1.json",
        "https://chat.example",
    ]
    .map(|it| it.as_bytes().to_vec())
    .into()
}
