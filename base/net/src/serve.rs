use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mayfly_runtime::{Stop, TaskSet};
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;
use tracing::debug;

use crate::listener::{Acceptor, Listener};
use crate::shortcut::{Shortcut, ShortcutStream};

/// Limits of a listener. Limits on bodies belong to the routes, which differ in what they accept.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Connections at once; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// From the first moment a head may come to its last byte; also ends idle connections.
    pub header_timeout: Duration,
    /// Bytes of a request's head.
    pub header_bytes_max: usize,
    /// How long requests under way may still take once told to stop.
    pub drain: Duration,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            header_timeout: Duration::from_secs(75),
            header_bytes_max: 64 * 1024,
            drain: Duration::from_secs(10),
        }
    }
}

/// Serves HTTP/1.1 on `listener` until `stop`; then accepts nothing more, lets requests under way finish within
/// `config.drain`, and returns. True if all of them did.
///
/// Upgrades (WebSockets) work; an upgraded connection belongs to its handler and is not waited for. Requests carry the
/// [`Shortcut`] of their connection.
pub async fn serve<L, S, B>(listener: L, service: S, config: ServeConfig, stop: Stop) -> bool
where
    L: Listener,
    S: Service<hyper::Request<Incoming>, Response = hyper::Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connections = TaskSet::under(&stop);
    let acceptor = Acceptor::new(listener, config.connections_max);
    while let Some((stream, mark, place)) = acceptor.next(&stop).await {
        let stream = ShortcutStream::new(stream);
        let service = Marked {
            service: service.clone(),
            mark,
            shortcut: Some(stream.shortcut()),
        };
        let config = config.clone();
        connections
            .spawn_guarded("http.connection", move |stop| async move {
                serve_connection(stream, service, &config, stop).await;
                drop(place);
            })
            .await;
    }
    drop(acceptor);
    connections.shut_down(config.drain).await
}

/// Serves HTTP/1.1 on one connection, whose requests carry `mark`, as [`serve`] does, until it ends.
pub async fn serve_stream<T, M, S, B>(
    stream: T,
    mark: M,
    service: S,
    config: &ServeConfig,
    stop: Stop,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    M: Clone + Send + Sync + 'static,
    S: Service<hyper::Request<Incoming>, Response = hyper::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = Marked {
        service,
        mark,
        shortcut: None,
    };
    serve_connection(stream, service, config, stop).await;
}

async fn serve_connection<T, S, B>(stream: T, service: S, config: &ServeConfig, stop: Stop)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<hyper::Request<Incoming>, Response = hyper::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(config.header_bytes_max)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}

/// Adds what is known of a connection to its requests.
#[derive(Clone)]
struct Marked<S, T> {
    service: S,
    mark: T,
    shortcut: Option<Shortcut>,
}

impl<S, T> Service<hyper::Request<Incoming>> for Marked<S, T>
where
    S: Service<hyper::Request<Incoming>>,
    T: Clone + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: hyper::Request<Incoming>) -> S::Future {
        let extensions = request.extensions_mut();
        extensions.insert(self.mark.clone());
        if let Some(shortcut) = &self.shortcut {
            extensions.insert(shortcut.clone());
        }
        self.service.call(request)
    }
}
