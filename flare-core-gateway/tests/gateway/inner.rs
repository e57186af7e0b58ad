//! The inner services: answers by method, requests written down.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, extract::Request, response::Response};
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use prost::Message;
use tonic::{Status, service::Routes};

type Answer = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, Status> + Send + Sync>;

/// Answers any gRPC method. Clones share one state.
#[derive(Clone, Default)]
pub(crate) struct Inner {
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    calls: Arc<Mutex<Vec<(String, Bytes)>>>,
    /// Calls of this method wait for ever.
    silent: Arc<Mutex<Option<String>>>,
}

impl Inner {
    /// Answers `method`, such as "SessionService/GetConversation", by `answer` from here on.
    pub(crate) fn answer<Q: Message + Default, A: Message>(
        &self,
        method: &str,
        answer: impl Fn(Q) -> Result<A, Status> + Send + Sync + 'static,
    ) {
        let answer = move |bytes: &[u8]| {
            answer(Q::decode(bytes).expect("a request")).map(|it| it.encode_to_vec())
        };
        self.answers
            .lock()
            .expect("lock")
            .insert(method.to_owned(), Arc::new(answer));
    }

    /// Refuses every method of the service, such as "SessionService", by `status`.
    pub(crate) fn refuse_all(&self, service: &str, status: Status) {
        let answer = move |_: &[u8]| Err(status.clone());
        self.answers
            .lock()
            .expect("lock")
            .insert(service.to_owned(), Arc::new(answer));
    }

    /// Never answers `method`.
    pub(crate) fn fall_silent(&self, method: &str) {
        *self.silent.lock().expect("lock") = Some(method.to_owned());
    }

    /// The requests of a method so far.
    pub(crate) fn requests<Q: Message + Default>(&self, method: &str) -> Vec<Q> {
        let calls = self.calls.lock().expect("lock");
        calls
            .iter()
            .filter(|(name, _)| name == method)
            .map(|(_, it)| Q::decode(it.clone()).expect("a request"))
            .collect()
    }

    /// How many calls there were, but for those that ask for revocations.
    pub(crate) fn calls(&self) -> usize {
        let calls = self.calls.lock().expect("lock");
        calls
            .iter()
            .filter(|(name, _)| name != "SignalingService/Revocations")
            .count()
    }

    pub(crate) fn routes(&self) -> Routes {
        let inner = self.clone();
        Routes::from(
            Router::new()
                .fallback(move |request: Request| async move { inner.serve(request).await }),
        )
    }

    async fn serve(&self, request: Request) -> Response {
        // "/flare.session.v1.SessionService/GetConversation" is "SessionService/GetConversation" here.
        let name = request
            .uri()
            .path()
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .to_owned();
        let body = request
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let message = body.slice(5..);
        self.calls
            .lock()
            .expect("lock")
            .push((name.clone(), message.clone()));
        if self.silent.lock().expect("lock").as_deref() == Some(&name) {
            std::future::pending::<()>().await;
        }
        let service = name.split('/').next().unwrap_or_default().to_owned();
        let answer = {
            let answers = self.answers.lock().expect("lock");
            answers
                .get(&name)
                .or_else(|| answers.get(&service))
                .cloned()
        };
        match answer.map_or_else(
            || Err(Status::unimplemented(name.clone())),
            |it| it(&message),
        ) {
            Ok(message) => framed(&message),
            Err(status) => status.into_http(),
        }
    }
}

/// A message as gRPC sends it: its length before it, "all is well" in the trailers.
fn framed(message: &[u8]) -> Response {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a short message"));
    frame.put_slice(message);
    let trailers: HeaderMap = [(
        "grpc-status".parse().expect("a name"),
        "0".parse().expect("a value"),
    )]
    .into_iter()
    .collect();
    let frames = [
        Ok::<_, std::convert::Infallible>(Frame::data(frame.freeze())),
        Ok(Frame::trailers(trailers)),
    ];
    let body = Body::new(StreamBody::new(futures::stream::iter(frames)));
    Response::builder()
        .header("content-type", "application/grpc")
        .body(body)
        .expect("a response")
}
