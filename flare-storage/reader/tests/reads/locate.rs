//! Where messages went.

use std::time::Duration;

use flare_proto::{
    common::{ErrorCode, RequestContext},
    message::Event,
    storage::{LocateRequest, LocateResponse, LogPresence},
};
use flare_server_core::error::Refusal;
use flare_storage_reader::application::ports::LogPlace;
use prost::Message;
use ulid::Ulid;

use crate::ground::{Ground, code, system, system_of, user};

async fn locate(
    ground: &Ground,
    who: RequestContext,
    message_id: &str,
) -> Result<LocateResponse, Refusal> {
    let request = LocateRequest {
        context: Some(who),
        message_id: message_id.to_owned(),
    };
    Ok(ground.client.clone().locate(request).await?.into_inner())
}

#[tokio::test]
async fn a_stored_message_is_shown_with_what_the_log_says() {
    let mut ground = Ground::new();
    ground.talk.say("team", 1).await;
    ground.talk.rename("team").await;
    let all = ground.talk.events("team");
    let away = || Refusal::unavailable("away", Duration::from_millis(1));
    for (seq, event) in (1..).zip(&all) {
        let id = ground.talk.id("team", seq);
        let at = LogPlace::At {
            offset: 7,
            event: event.clone(),
        };
        for (place, presence, offset) in [
            (Ok(at), LogPresence::InLog, Some(7)),
            (Ok(LogPlace::Trimmed), LogPresence::Trimmed, None),
            (Err(away()), LogPresence::LogUnreachable, None),
        ] {
            ground.in_log(&id, place);
            let found = locate(&ground, system(), &id).await.unwrap();
            assert_eq!(&found.event, event);
            assert_eq!((found.log(), found.log_offset), (presence, offset));
            assert!(!found.only_in_log && !found.recalled);
        }
    }
}

#[tokio::test]
async fn a_message_that_is_in_the_log_alone_is_shown_as_that() {
    let mut ground = Ground::new();
    ground.talk.say("team", 1).await;
    let event = ground.talk.events("team").remove(0);
    let id = Ulid::from_parts(1, 1).to_string();
    ground.in_log(
        &id,
        Ok(LogPlace::At {
            offset: 9,
            event: event.clone(),
        }),
    );
    let found = locate(&ground, system(), &id).await.unwrap();
    assert_eq!((found.event, found.log_offset), (event, Some(9)));
    assert!(found.only_in_log);
    let refused = locate(&ground, user("alice"), &id).await;
    assert_eq!(code(refused), ErrorCode::MessageNotFound, "no user is told");
}

#[tokio::test]
async fn where_the_log_cannot_be_asked_a_message_is_not_called_missing() {
    let ground = Ground::new();
    let id = Ulid::from_parts(1, 1).to_string();
    let refused = locate(&ground, system(), &id).await;
    assert_eq!(code(refused), ErrorCode::MessageNotFound);
    let away = Refusal::unavailable("away", Duration::from_millis(1));
    ground.in_log(&id, Err(away));
    let refused = locate(&ground, system(), &id).await;
    assert_eq!(code(refused), ErrorCode::Unavailable);
    let refused = locate(&ground, system(), "no id").await;
    assert_eq!(refused.expect_err("refused").field, "message_id");
}

#[tokio::test]
async fn a_recalled_message_is_shown_without_its_content() {
    let mut ground = Ground::new();
    ground.talk.say("team", 1).await;
    ground.talk.recall("team", 1).await;
    let id = ground.talk.id("team", 1);
    ground.in_log(&id, Ok(LogPlace::Trimmed));
    let found = locate(&ground, system(), &id).await.unwrap();
    assert!(found.recalled);
    assert!(Event::decode(found.event).unwrap().body.is_empty());
    let refused = locate(&ground, system_of("other"), &id).await;
    assert_eq!(code(refused), ErrorCode::MessageNotFound);
}
