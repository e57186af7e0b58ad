#![doc = include_str!("../README.md")]

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

pub mod event_view;
pub mod ids;

#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    reason = "generated code; the contract is documented in the .proto files"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/flare.rs"));
}

pub use generated::flare;
pub use generated::flare::{
    access::v1 as access, client::v1 as client, common::v1 as common, gateway::v1 as gateway,
    message::v1 as message, push::v1 as push, session::v1 as session, signaling::v1 as signaling,
    storage::v1 as storage,
};

/// The whole contract as a serialised `FileDescriptorSet`, custom options included.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/flare.binpb"));

/// The contract by reflection: options of fields and methods, and types by name for proto3 JSON.
pub fn descriptor_pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        DescriptorPool::decode(FILE_DESCRIPTOR_SET)
            .unwrap_or_else(|error| unreachable!("the build wrote this descriptor set: {error}"))
    });
    &POOL
}

/// Whether a client may call the method, named as in `Call.method`: "flare.session.v1.SessionService/GetConversation".
pub fn is_client_callable(method: &str) -> bool {
    let pool = descriptor_pool();
    let Some((service, name)) = method.split_once('/') else {
        return false;
    };
    let Some(option) = pool.get_extension_by_name("flare.options.v1.client_callable") else {
        return false;
    };
    pool.get_service_by_name(service)
        .and_then(|service| service.methods().find(|it| it.name() == name))
        .is_some_and(|method| method.options().get_extension(&option).as_bool() == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn raw_fields_keep_what_a_server_does_not_know() {
        // Field 1 (text) beside field 777, which no version of Content has.
        let content = [0x0a, 0x02, 0x0a, 0x00, 0xca, 0x30, 0x01, 0x78];
        let send = client::Send {
            content: bytes::Bytes::copy_from_slice(&content),
            ..Default::default()
        };
        let back = client::Send::decode(send.encode_to_vec().as_slice()).expect("decodes");
        assert_eq!(back.content.as_ref(), content);
        assert!(message::Content::decode(content.as_slice()).is_ok());
    }

    #[test]
    fn methods_are_closed_to_clients_unless_marked() {
        assert!(is_client_callable(
            "flare.session.v1.SessionService/SyncInbox"
        ));
        assert!(!is_client_callable(
            "flare.session.v1.SessionService/Authorize"
        ));
        assert!(!is_client_callable(
            "flare.signaling.v1.SignalingService/Revoke"
        ));
        assert!(!is_client_callable("no such method"));
    }

    #[test]
    fn every_client_callable_request_begins_with_the_context() {
        for service in descriptor_pool().services() {
            for method in service.methods() {
                let name = format!("{}/{}", service.full_name(), method.name());
                if is_client_callable(&name) {
                    let context = method.input().get_field(1);
                    assert_eq!(
                        context.map(|it| it.name().to_owned()).as_deref(),
                        Some("context"),
                        "{name}"
                    );
                }
            }
        }
    }
}
