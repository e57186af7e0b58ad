//! `LogPlaces`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::{
    common::ErrorCode,
    storage::{
        FindInLogRequest, FindInLogResponse, LogPresence,
        storage_writer_service_server::StorageWriterServiceServer,
    },
};
use flare_server_core::{error::Refusal, registry::service};
use flare_storage_reader::{
    application::ports::{LogPlace, LogPlaces},
    infrastructure::grpc_log_places::GrpcLogPlaces,
};
use tonic::Status;
use ulid::Ulid;

use crate::{Flawed, Outcome, answering, each_breaks_its_own, same};

const EVENT: Bytes = Bytes::from_static(b"as it was written");

fn held() -> Ulid {
    Ulid::from_parts(1, 1)
}

fn trimmed() -> Ulid {
    Ulid::from_parts(1, 2)
}

/// flare-storage-writer's side.
#[derive(Clone, Copy)]
enum Writer {
    /// It knows its log.
    Answers,
    /// Neither in the log nor trimmed.
    SaysNothing,
    /// In the log, and not where.
    NamesNoOffset,
    Fails,
}

impl Writer {
    fn answer(self, request: FindInLogRequest) -> Result<FindInLogResponse, Status> {
        let context = request.context.unwrap_or_default();
        let is_ours = context.tenant.unwrap_or_default().tenant_id == "default";
        let found = |presence: LogPresence, log_offset, event| FindInLogResponse {
            presence: presence.into(),
            log_offset,
            event,
        };
        match self {
            Self::Answers if is_ours && request.message_id == held().to_string() => {
                Ok(found(LogPresence::InLog, Some(42), EVENT))
            }
            Self::Answers if is_ours && request.message_id == trimmed().to_string() => {
                Ok(found(LogPresence::Trimmed, None, Bytes::new()))
            }
            Self::Answers => Err(Refusal::new(ErrorCode::MessageNotFound, "nowhere").into()),
            Self::SaysNothing => Ok(FindInLogResponse::default()),
            Self::NamesNoOffset => Ok(found(LogPresence::InLog, None, EVENT)),
            Self::Fails => Err(Status::unavailable("away")),
        }
    }
}

/// A way to break one obligation.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    AsksForAnotherTenant,
    CountsFromOne,
    Guesses,
}

#[async_trait]
impl LogPlaces for Flawed<GrpcLogPlaces, Flaw> {
    async fn find(&self, tenant: &str, id: Ulid) -> Result<Option<LogPlace>, Refusal> {
        let tenant = match self.flaw {
            Some(Flaw::AsksForAnotherTenant) => "default",
            _ => tenant,
        };
        match (self.inner.find(tenant, id).await, self.flaw) {
            (Ok(Some(LogPlace::At { offset, event })), Some(Flaw::CountsFromOne)) => {
                let offset = offset + 1;
                Ok(Some(LogPlace::At { offset, event }))
            }
            (Err(_), Some(Flaw::Guesses)) => Ok(None),
            (place, _) => place,
        }
    }
}

fn subject(writer: Writer, flaw: Option<Flaw>) -> Arc<dyn LogPlaces> {
    let answer = move |request: FindInLogRequest| writer.answer(request);
    let channels = answering::channels::<StorageWriterServiceServer<NoWriter>, _, _>(
        service::STORAGE_WRITER,
        answer,
    );
    Arc::new(Flawed {
        inner: GrpcLogPlaces::new(&channels),
        flaw,
    })
}

/// Only its name is needed.
struct NoWriter;

async fn of_the_tenant(flaw: Option<Flaw>) -> Outcome {
    let places = subject(Writer::Answers, flaw);
    for id in [held(), trimmed(), Ulid::nil()] {
        same(places.find("other", id).await, Ok(None))?;
    }
    Ok(())
}

async fn as_it_was_said(flaw: Option<Flaw>) -> Outcome {
    let places = subject(Writer::Answers, flaw);
    let at = LogPlace::At {
        offset: 42,
        event: EVENT,
    };
    same(places.find("default", held()).await, Ok(Some(at)))?;
    let told = places.find("default", trimmed()).await;
    same(told, Ok(Some(LogPlace::Trimmed)))
}

async fn no_guess(flaw: Option<Flaw>) -> Outcome {
    for writer in [Writer::Fails, Writer::SaysNothing, Writer::NamesNoOffset] {
        if let Ok(told) = subject(writer, flaw).find("default", held()).await {
            return Err(format!("nobody said it: {told:?}"));
        }
    }
    same(
        subject(Writer::Answers, flaw)
            .find("default", Ulid::nil())
            .await,
        Ok(None),
    )
}

#[tokio::test]
async fn the_adapter_finds_the_tenants_messages_only() {
    assert_eq!(of_the_tenant(None).await, Ok(()));
}

#[tokio::test]
async fn the_adapter_leaves_a_place_as_it_was_said() {
    assert_eq!(as_it_was_said(None).await, Ok(()));
}

#[tokio::test]
async fn the_adapter_does_not_guess() {
    assert_eq!(no_guess(None).await, Ok(()));
}

#[tokio::test]
async fn an_adapter_that_breaks_one_obligation_fails_that_one_only() {
    let flaws = [
        Flaw::AsksForAnotherTenant,
        Flaw::CountsFromOne,
        Flaw::Guesses,
    ];
    each_breaks_its_own(flaws, async |flaw| {
        [
            of_the_tenant(flaw).await,
            as_it_was_said(flaw).await,
            no_guess(flaw).await,
        ]
    })
    .await;
}
