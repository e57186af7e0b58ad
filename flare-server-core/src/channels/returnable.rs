//! A request's body that comes back as long as nothing of it was taken.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

/// Where a body is found again.
#[derive(Clone, Default)]
pub(super) struct Home(Arc<Mutex<Option<Body>>>);

impl Home {
    /// The body, unless it is still under way or the other side may have got something of it.
    pub(super) fn take(&self) -> Option<Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Sends a body out. One that has nothing to give never comes back: nobody would see that it was taken.
    pub(super) fn lend(&self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Returnable {
            body,
            begun: false,
            home: self.clone(),
        })
    }
}

/// Goes home when it is dropped before anybody has polled it: then no byte of it has left this process.
struct Returnable {
    body: Body,
    begun: bool,
    home: Home,
}

impl HttpBody for Returnable {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.begun = true;
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Returnable {
    fn drop(&mut self) {
        if !self.begun {
            let body = mem::take(&mut self.body);
            *self.home.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_comes_back_as_long_as_nobody_has_read_of_it() {
        let home = Home::default();
        let lent = home.lend(Body::new(axum::body::Body::from("a request")));
        assert!(home.take().is_none(), "under way");
        drop(lent);
        let mut lent = home.lend(home.take().unwrap());
        std::future::poll_fn(|context| Pin::new(&mut lent).poll_frame(context)).await;
        drop(lent);
        assert!(home.take().is_none(), "begun");
        drop(home.lend(Body::empty()));
        assert!(home.take().is_none(), "nothing to take");
    }
}
