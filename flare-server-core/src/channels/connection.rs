//! One connection to another process, and the moment at which it has ended.

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{self, Channel, Endpoint};

/// Connects, once: the channel never connects again by itself. `ended` is cancelled when the connection is gone, or takes no more calls.
pub(super) async fn connect(
    endpoint: &Endpoint,
    ended: &CancellationToken,
) -> Result<Channel, String> {
    let guard = Arc::new(Mutex::new(Some(ended.clone().drop_guard())));
    let ended = ended.clone();
    let connector = tower::service_fn(move |uri: Uri| {
        let guard = guard.lock().unwrap_or_else(PoisonError::into_inner).take();
        if guard.is_none() {
            ended.cancel();
        }
        async move {
            let guard = guard.ok_or_else(|| io::Error::other("the connection has ended"))?;
            dial(&uri, guard).await.map(TokioIo::new)
        }
    });
    endpoint
        .connect_with_connector(connector)
        .await
        .map_err(|error| why(&error))
}

async fn dial(uri: &Uri, ended: DropGuard) -> io::Result<Watched> {
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let default = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(default))).await?;
    stream.set_nodelay(true)?;
    Ok(Watched {
        stream,
        _ended: ended,
    })
}

/// What is at the bottom of a transport error, whose own words say nothing.
fn why(error: &transport::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A stream that is dropped by whoever drives the connection, when it has ended.
struct Watched {
    stream: TcpStream,
    _ended: DropGuard,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
