//! A service as the process that runs it knows it.

use futures::future::BoxFuture;

use crate::{
    platform::Platform,
    service::{Parts, ServiceError},
};

type Build = Box<dyn FnOnce(Platform) -> BoxFuture<'static, Result<Parts, ServiceError>> + Send>;

/// A service that a process is to run: its name, what it listens on, and how it is built.
pub struct Hosted {
    pub(super) name: &'static str,
    pub(super) listener: Option<(String, Audience)>,
    pub(super) build: Build,
}

/// Who comes to a listener of a service's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Clients, over connections that stay.
    Clients,
    /// Business backends and pages, over HTTP and gRPC.
    Backends,
}

impl Hosted {
    /// A service that other services of the house call, and nobody else.
    pub fn inner<F>(name: &'static str, build: impl FnOnce(Platform) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Parts, ServiceError>> + Send + 'static,
    {
        Self {
            name,
            listener: None,
            build: Box::new(move |platform| Box::pin(build(platform))),
        }
    }

    /// It also listens on `address` (host:port; port 0: any free one), on the listener of its name, and is given what the [`Edge`](super::Edge) has.
    #[must_use]
    pub fn listening(mut self, address: &str, audience: Audience) -> Self {
        self.listener = Some((address.to_owned(), audience));
        self
    }
}
