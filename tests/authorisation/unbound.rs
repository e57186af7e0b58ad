//! A token that names no device, of a user one of whose devices is signed out.

use flare_core::codec::Codec;
use flare_core_gateway::handler::method::Method;
use flare_proto::{client::CloseReason, common::ErrorCode};
use serde_json::json;

use crate::{
    ground::{Ground, LOST},
    request,
    surfaces::{
        answer::Answer,
        link::{Link, connect},
        message::{bearer, frame},
    },
};

/// It is dead on that device, and good on others and where no device is named.
pub(crate) async fn all(ground: &Ground) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (device, is_dead) in [(LOST, true), ("another", false)] {
        let mut link = Link::dial(&ground.server, Codec::Proto).await?;
        let hello = connect(&ground.unbound_token, device);
        link.send(frame(Codec::Proto, &hello)).await?;
        let answer = link.answer().await?;
        match (&answer, is_dead) {
            (Answer::Done(_), false) => link.goes_on().await?,
            (_, true) => {
                if let Err(found) = answer.refused(ErrorCode::TokenRevoked) {
                    wrong.push(format!("unbound token on the signed-out device: {found}"));
                }
                link.ends(CloseReason::Unauthenticated).await?;
            }
            (Answer::Refused(error), false) => {
                wrong.push(format!("unbound token on {device}: {}", error.message));
            }
        }
    }
    let (method, body) = request::grpc(Method::SyncInbox, &json!({}));
    let headers = bearer(&ground.unbound_token);
    if let Answer::Refused(error) = ground.api.grpc(&method, &headers, &body).await? {
        wrong.push(format!("unbound token over gRPC: {}", error.message));
    }
    Ok(wrong)
}
