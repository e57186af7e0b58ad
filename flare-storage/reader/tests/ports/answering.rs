//! An inner service with one method, and channels that lead to it.

use std::{
    convert::Infallible,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use flare_server_core::{channels::Channels, registry::StaticRegistry, shutdown::Shutdown};
use prost::Message;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    service::Routes,
};
use tonic_prost::ProstCodec;
use tower::Service;

type Answer<Q, A> = Arc<dyn Fn(Q) -> Result<A, Status> + Send + Sync>;

/// Answers every method of the service `N` alike.
struct Answering<N, Q, A> {
    answer: Answer<Q, A>,
    of: PhantomData<fn() -> N>,
}

impl<N, Q, A> Clone for Answering<N, Q, A> {
    fn clone(&self) -> Self {
        Self {
            answer: Arc::clone(&self.answer),
            of: PhantomData,
        }
    }
}

impl<N: NamedService, Q, A> NamedService for Answering<N, Q, A> {
    const NAME: &'static str = N::NAME;
}

impl<N, Q: Message + 'static, A: Message + 'static> UnaryService<Q> for Answering<N, Q, A> {
    type Response = A;
    type Future = std::future::Ready<Result<Response<A>, Status>>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        std::future::ready((self.answer)(request.into_inner()).map(Response::new))
    }
}

impl<N, Q, A> Service<http::Request<Body>> for Answering<N, Q, A>
where
    N: 'static,
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<A, Q>::default());
            Ok(grpc.unary(service, request).await)
        })
    }
}

/// Channels that lead to a service `N` which runs here, under its registry's name.
pub(crate) fn channels<N, Q, A>(
    name: &'static str,
    answer: impl Fn(Q) -> Result<A, Status> + Send + Sync + 'static,
) -> Channels
where
    N: NamedService + 'static,
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let registry = Arc::new(StaticRegistry::default());
    let channels = Channels::new(registry, None, None, Shutdown::new());
    let service = Answering::<N, Q, A> {
        answer: Arc::new(answer),
        of: PhantomData,
    };
    channels.serve_local(Routes::new(service), vec![name], None);
    channels
}
