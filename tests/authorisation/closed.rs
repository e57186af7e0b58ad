//! Methods that no client may call, over any surface.

use flare_core::codec::Codec;
use flare_proto::{common::ErrorCode, descriptor_pool, is_client_callable};
use serde_json::json;

use crate::{
    caller::Caller,
    ground::Ground,
    stage::Stage,
    surfaces::{
        api::SERVICE,
        link::{Link, connect},
        message::{call, frame},
    },
};

/// Every method of the contract by its full name, but for those for which `is_open` stands.
pub(crate) fn closed(is_open: impl Fn(&str) -> bool) -> Vec<String> {
    let all = descriptor_pool().services().flat_map(|service| {
        let name = service.full_name().to_owned();
        let methods: Vec<_> = service
            .methods()
            // What streams is no call.
            .filter(|it| !it.is_client_streaming() && !it.is_server_streaming())
            .map(|it| format!("{name}/{}", it.name()))
            .collect();
        methods
    });
    all.filter(|it| !is_open(it)).collect()
}

/// What is open that should not be: a member asks over the client link, and a key with every scope over gRPC.
pub(crate) async fn all(ground: &Ground) -> anyhow::Result<Vec<String>> {
    let stage = Stage::named(0);
    let mut wrong = Vec::new();
    let (token, device) = ground.connects_with(&stage, Caller::Member)?;
    for method in closed(is_client_callable) {
        let mut link = Link::dial(&ground.server, Codec::Proto).await?;
        link.send(frame(Codec::Proto, &connect(&token, device)))
            .await?;
        link.answer().await?;
        link.send(frame(Codec::Proto, &call(&method, &json!({}))))
            .await?;
        let answer = link.answer().await?;
        if let Err(found) = answer.refused(ErrorCode::UnknownMethod) {
            wrong.push(format!("{method} | link: {found}"));
        }
        link.goes_on().await?;
    }
    let key = vec![("x-api-key", ground.backend.key.clone())];
    for method in closed(|it| it.split('/').next() == Some(SERVICE)) {
        let answer = ground.api.grpc(&method, &key, &[]).await?;
        if let Err(found) = answer.refused(ErrorCode::UnknownMethod) {
            wrong.push(format!("{method} | gRPC: {found}"));
        }
    }
    Ok(wrong)
}
