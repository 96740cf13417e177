//! The client against our own server loop and against scripted peers on loopback.

#![allow(clippy::unwrap_used)]

mod shortcut;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use mayfly_net::{Body, ClientConfig, HttpClient, HttpError, PeerAddr, ServeConfig, header, serve};
use mayfly_runtime::{Stop, TaskSet};
use mayfly_types::{ErrorKind, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(10);

/// Answers by path: `/echo` returns the body, `/peer` the caller, `/auth` the authorization, `/to?<url>` redirects.
#[derive(Clone)]
struct Site;

impl tower_service::Service<hyper::Request<Incoming>> for Site {
    type Response = hyper::Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: hyper::Request<Incoming>) -> Self::Future {
        Box::pin(async move {
            let mut answer = hyper::Response::new(Full::default());
            let text = match request.uri().path() {
                "/echo" => request.into_body().collect().await.unwrap().to_bytes(),
                "/peer" => format!("{:?}", request.extensions().get::<PeerAddr>().is_some()).into(),
                "/auth" => request
                    .headers()
                    .get(header::AUTHORIZATION)
                    .map_or(Bytes::from("none"), |value| {
                        Bytes::copy_from_slice(value.as_bytes())
                    }),
                "/to" => {
                    *answer.status_mut() = hyper::StatusCode::TEMPORARY_REDIRECT;
                    let to = request.uri().query().unwrap().parse().unwrap();
                    answer.headers_mut().insert(header::LOCATION, to);
                    Bytes::new()
                }
                "/slow" => {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    Bytes::from("late")
                }
                _ => {
                    *answer.status_mut() = hyper::StatusCode::NOT_FOUND;
                    Bytes::from("{}")
                }
            };
            *answer.body_mut() = Full::new(text);
            Ok(answer)
        })
    }
}

struct Server {
    address: SocketAddr,
    tasks: TaskSet,
    stop: Stop,
}

impl Server {
    async fn start(config: ServeConfig) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = TaskSet::new();
        let stop = Stop::new();
        let told = stop.clone();
        tasks
            .spawn("server", move |_| async move {
                serve(listener, Site, config, told).await;
            })
            .await;
        Server {
            address,
            tasks,
            stop,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A peer that reads one head and then says exactly `answer`, keeping the connection open if asked.
async fn scripted(tasks: &TaskSet, answer: &'static str, hold: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks
        .spawn("scripted", move |stop| async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            if hold {
                stop.cancelled().await;
            }
        })
        .await;
    address
}

#[tokio::test]
async fn bodies_stream_both_ways_and_limits_hold() {
    let server = Server::start(ServeConfig::default()).await;
    let client = HttpClient::default();
    let pieces = stream::iter((0..100).map(|_| Ok(Bytes::from(vec![7u8; 10_000]))));
    let answer = client
        .post(server.url("/echo"))
        .body(Body::stream(pieces))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.bytes(1_000_000).await.unwrap().len(), 1_000_000);

    let answer = client
        .post(server.url("/echo"))
        .json(&vec![1, 2, 3])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.json::<Vec<u32>>(100).await.unwrap(), [1, 2, 3]);

    let answer = client
        .post(server.url("/echo"))
        .body(Body::bytes("12345"))
        .send()
        .await
        .unwrap();
    let error = answer.bytes(4).await.unwrap_err();
    assert!(
        matches!(error, HttpError::TooLong { limit: 4, .. }),
        "{error}"
    );

    let answer = client.get(server.url("/peer")).send().await.unwrap();
    assert_eq!(answer.bytes(100).await.unwrap(), "true");
    let answer = client.get(server.url("/none")).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    let error = answer.json::<Vec<u32>>(100).await.unwrap_err();
    assert!(matches!(error, HttpError::Decode { .. }), "{error}");
}

#[tokio::test]
async fn redirects_are_followed_on_request_and_leave_credentials_behind() {
    let here = Server::start(ServeConfig::default()).await;
    let there = Server::start(ServeConfig::default()).await;
    let client = HttpClient::default();
    let token = Secret::new("t0p");
    let text = async |path: String, follow: usize| {
        let request = client.get(here.url(&path)).bearer(&token);
        let answer = request.follow_redirects(follow).send().await?;
        let status = answer.status().as_u16();
        Ok::<_, HttpError>((status, answer.bytes(1000).await?))
    };
    assert_eq!(text("/to?/auth".into(), 0).await.unwrap().0, 307);
    assert_eq!(text("/to?/auth".into(), 3).await.unwrap().1, "Bearer t0p");
    let away = format!("/to?{}", there.url("/auth"));
    assert_eq!(text(away, 3).await.unwrap().1, "none");
    let error = text("/to?/to?/auth".into(), 1).await.unwrap_err();
    assert!(
        matches!(error, HttpError::TooManyRedirects { most: 1, .. }),
        "{error}"
    );
    for bad in ["/to?ftp://a/b", "/to?//a/b"] {
        let error = text(bad.into(), 3).await.unwrap_err();
        assert!(matches!(error, HttpError::BadRedirect { .. }), "{error}");
    }
}

#[tokio::test]
async fn failures_name_the_peer_and_their_kind() {
    let tasks = TaskSet::new();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    let client = HttpClient::new(ClientConfig {
        head_timeout: Duration::from_millis(100),
        body_timeout: Duration::from_millis(100),
        ..ClientConfig::default()
    });
    let error = client
        .get(format!("http://{nobody}/"))
        .send()
        .await
        .unwrap_err();
    assert!(matches!(error, HttpError::Connect { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&nobody.to_string()), "{error}");

    let silent = scripted(&tasks, "", true).await;
    let error = client
        .get(format!("http://{silent}/"))
        .send()
        .await
        .unwrap_err();
    assert!(matches!(error, HttpError::HeadTimeout { .. }), "{error:?}");

    let stuck = scripted(
        &tasks,
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        true,
    )
    .await;
    let answer = client.get(format!("http://{stuck}/")).send().await.unwrap();
    let error = answer.bytes(100).await.unwrap_err();
    assert!(matches!(error, HttpError::BodyTimeout { .. }), "{error:?}");

    let broken = scripted(
        &tasks,
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        false,
    )
    .await;
    let answer = client
        .get(format!("http://{broken}/"))
        .send()
        .await
        .unwrap();
    let error = answer.bytes(100).await.unwrap_err();
    assert!(matches!(error, HttpError::ReadBody { .. }), "{error:?}");

    for url in ["", "nonsense", "ftp://a/", "http://", "unix:/x"] {
        let error = client.get(url).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
    }
    let garbled = client
        .get("http://127.0.0.1:1/")
        .header(header::ACCEPT, "a\nb");
    let error = garbled.send().await.unwrap_err();
    assert!(
        matches!(error, HttpError::InvalidRequest { .. }),
        "{error:?}"
    );
    tasks.shut_down(PATIENCE).await;
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "-----BEGIN CERTIFICATE-----\nnope\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let client = HttpClient::new(ClientConfig {
        ca_file: Some(file.path().to_owned()),
        ..ClientConfig::default()
    });
    let error = client.get("https://127.0.0.1:1/").send().await.unwrap_err();
    assert!(matches!(error, HttpError::Authorities { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains(&file.path().display().to_string())
    );
}

#[tokio::test]
async fn stopping_lets_requests_finish_and_closes_idle_connections() {
    let server = Server::start(ServeConfig::default()).await;
    let client = HttpClient::default();
    let mut idle = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let slow = client.get(server.url("/slow")).send();
    let stop = server.stop.clone();
    let (answer, ()) = tokio::join!(slow, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.cancel();
    });
    assert_eq!(answer.unwrap().bytes(100).await.unwrap(), "late");
    assert_eq!(idle.read(&mut [0; 10]).await.unwrap(), 0);
    assert!(server.tasks.shut_down(PATIENCE).await);
    let error = client.get(server.url("/peer")).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_slow_head_is_cut_off_and_connections_are_bounded() {
    let server = Server::start(ServeConfig {
        connections_max: 1,
        header_timeout: Duration::from_millis(200),
        ..ServeConfig::default()
    })
    .await;
    let mut slow = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    // The only place is taken until the slow one is cut off; then the queued request is served.
    let client = HttpClient::default();
    let answer = client.get(server.url("/peer")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, slow.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the slow connection is closed");
}
