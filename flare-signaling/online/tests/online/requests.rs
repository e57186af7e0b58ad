//! What requests are refused, by field.

use flare_proto::{
    common::{Actor, ActorKind, ErrorCode, RequestContext, TenantContext},
    signaling::{
        self, DeviceKey, GetPresenceRequest, KickRequest, ListDevicesRequest, LookupRequest,
        RenewLeaseRequest, RevokeRequest, SignOutRequest,
        signaling_service_server::SignalingService,
    },
};
use flare_server_core::error::Refusal;
use flare_signaling_online::handler::grpc::Grpc;
use tonic::{Request, Response, Status};

use super::place;

/// Ids that no user and no device has.
const BAD: [&str; 6] = [".", "..", "a/b", "a b", "\u{e4}", "a\nb"];

async fn service() -> (tempfile::TempDir, Grpc) {
    let folder = tempfile::tempdir().unwrap();
    let service = place(folder.path()).await.service();
    (folder, service)
}

fn context(kind: ActorKind, user: &str) -> Option<RequestContext> {
    Some(RequestContext {
        actor: Some(Actor {
            kind: kind.into(),
            user_id: user.to_owned(),
            ..Actor::default()
        }),
        tenant: Some(TenantContext {
            tenant_id: "default".to_owned(),
        }),
        ..RequestContext::default()
    })
}

fn alice() -> Option<RequestContext> {
    context(ActorKind::User, "alice")
}

fn system() -> Option<RequestContext> {
    context(ActorKind::System, "")
}

/// Asserts that an answer is INVALID_ARGUMENT for a field, and says which value was wrong.
fn assert_invalid<T: std::fmt::Debug>(
    answer: Result<Response<T>, Status>,
    field: &str,
    value: &str,
) {
    let refusal = Refusal::from(answer.expect_err("refused"));
    assert_eq!(refusal.code, ErrorCode::InvalidArgument, "{value:?}");
    assert_eq!(refusal.field, field, "{value:?}");
    let message = refusal.message;
    assert!(message.contains(&format!("{value:?}")), "{message}");
    assert!(message.contains("1 to 64") || message.contains("neither"));
}

fn presence_of(users: &[&str]) -> Request<GetPresenceRequest> {
    Request::new(GetPresenceRequest {
        context: alice(),
        user_ids: users.iter().map(|&it| it.to_owned()).collect(),
    })
}

#[tokio::test]
async fn presence_is_asked_for_by_ids_that_users_may_have() {
    let (_folder, service) = service().await;
    for bad in BAD.into_iter().chain(["", &"x".repeat(65)]) {
        let answer = service.get_presence(presence_of(&["bob", bad])).await;
        assert_invalid(answer, "user_ids", bad);
    }
    let answer = service.get_presence(presence_of(&["bob", "carol"])).await;
    assert_eq!(answer.unwrap().into_inner().presences.len(), 2);
}

#[tokio::test]
async fn presence_is_asked_for_1_to_200_users() {
    let (_folder, service) = service().await;
    for count in [0, 201] {
        let answer = service.get_presence(presence_of(&vec!["bob"; count])).await;
        let refusal = Refusal::from(answer.expect_err("refused"));
        assert_eq!(refusal.code, ErrorCode::InvalidArgument, "{count}");
        assert_eq!(refusal.field, "user_ids", "{count}");
    }
    let answer = service.get_presence(presence_of(&["bob"; 200])).await;
    assert_eq!(answer.unwrap().into_inner().presences.len(), 200);
}

#[tokio::test]
async fn devices_are_named_by_ids_that_users_and_devices_may_have() {
    let (_folder, service) = service().await;
    for bad in BAD {
        let key = |user: &str, device: &str| {
            Some(DeviceKey {
                tenant_id: "default".to_owned(),
                user_id: user.to_owned(),
                device_id: device.to_owned(),
            })
        };
        for (device, field) in [
            (key(bad, "phone"), "user_id"),
            (key("alice", bad), "device_id"),
        ] {
            let revoke = RevokeRequest {
                context: system(),
                device: device.clone(),
            };
            assert_invalid(service.revoke(Request::new(revoke)).await, field, bad);
            let kick = KickRequest {
                context: system(),
                device,
                reason: String::new(),
            };
            assert_invalid(service.kick(Request::new(kick)).await, field, bad);
        }
        let sign_out = SignOutRequest {
            context: alice(),
            device_id: bad.to_owned(),
        };
        let answer = service.sign_out(Request::new(sign_out)).await;
        assert_invalid(answer, "device_id", bad);
        let list = ListDevicesRequest {
            context: system(),
            user_id: bad.to_owned(),
        };
        let answer = service.list_devices(Request::new(list)).await;
        assert_invalid(answer, "user_id", bad);
    }
}

#[tokio::test]
async fn whoever_acts_is_a_user() {
    let (_folder, service) = service().await;
    for nobody in ["", "a/b"] {
        let request = SignOutRequest {
            context: context(ActorKind::Api, nobody),
            device_id: String::new(),
        };
        let answer = service.sign_out(Request::new(request)).await;
        assert_invalid(answer, "context.actor.user_id", nobody);
    }
}

#[tokio::test]
async fn a_look_up_names_all_gateways_if_they_are_asked_for() {
    let (_folder, service) = service().await;
    for name in ["g1", "g2"] {
        let request = RenewLeaseRequest {
            gateway: Some(signaling::Gateway {
                incarnation: name.to_owned(),
                endpoint: format!("http://{name}"),
            }),
            ..RenewLeaseRequest::default()
        };
        service.renew_lease(Request::new(request)).await.unwrap();
    }
    let named = async |all_gateways| {
        let request = LookupRequest {
            all_gateways,
            ..LookupRequest::default()
        };
        let answer = service.lookup(Request::new(request)).await.unwrap();
        let gateways = answer.into_inner().gateways.into_iter();
        let mut endpoints: Vec<_> = gateways.map(|it| it.endpoint).collect();
        endpoints.sort();
        endpoints
    };
    assert!(named(false).await.is_empty());
    assert_eq!(named(true).await, ["http://g1", "http://g2"]);
}
