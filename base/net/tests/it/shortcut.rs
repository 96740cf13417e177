//! Files that go to clients without being read.

use std::convert::Infallible;
use std::fs::File;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use mayfly_net::{ClientConfig, HttpClient, MarkedSocket, ServeConfig, Shortcut, serve};
use mayfly_runtime::{Stop, TaskSet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::PATIENCE;

/// Answers `/<from>` with the rest of a file, which takes the shortcut; `/length` with its length.
#[derive(Clone)]
struct Shelf {
    path: std::path::PathBuf,
    /// Bytes that are promised beyond the end of the file.
    excess: u64,
}

impl tower_service::Service<hyper::Request<Incoming>> for Shelf {
    type Response = hyper::Response<UnsyncBoxBody<Bytes, io::Error>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: hyper::Request<Incoming>) -> Self::Future {
        let shelf = self.clone();
        Box::pin(async move {
            let file = File::open(shelf.path).unwrap();
            let length = file.metadata().unwrap().len() + shelf.excess;
            let Ok(from) = request.uri().path()[1..].parse::<u64>() else {
                let text = Full::new(Bytes::from(length.to_string()));
                let body = text.map_err(|never| match never {}).boxed_unsync();
                return Ok(hyper::Response::new(body));
            };
            let shortcut = request.extensions().get::<Shortcut>().unwrap();
            let body = shortcut.body(file, from, length - from);
            let body = StreamBody::new(body.map_ok(Frame::data)).boxed_unsync();
            let mut answer = hyper::Response::new(body);
            let headers = answer.headers_mut();
            headers.insert("content-length", (length - from).into());
            Ok(answer)
        })
    }
}

/// Of no length that anything is aligned to, and different everywhere.
fn content() -> Vec<u8> {
    let words = (0..(5 << 20) / 4 + 1_234_567_u32).flat_map(u32::to_le_bytes);
    words.skip(3).collect()
}

fn shelf(excess: u64) -> (tempfile::TempDir, Shelf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("content");
    std::fs::write(&path, content()).unwrap();
    (directory, Shelf { path, excess })
}

async fn start(tasks: &TaskSet, shelf: Shelf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = |stop| async move {
        serve(listener, shelf, ServeConfig::default(), stop).await;
    };
    tasks.spawn("server", serve).await;
    format!("http://{address}")
}

#[tokio::test]
async fn every_byte_of_a_file_comes_and_the_connection_serves_on() {
    let (_directory, shelf) = shelf(0);
    let tasks = TaskSet::under(&Stop::new());
    let base = start(&tasks, shelf).await;
    let client = HttpClient::new(ClientConfig::default());
    let content = content();
    for from in [0, 1, 4096, 1 << 20, content.len() - 5, content.len()] {
        let answer = client.get(format!("{base}/{from}")).send().await.unwrap();
        let found = answer.bytes(64 << 20).await.unwrap();
        assert!(found == content[from..], "from {from}");
        let answer = client.get(format!("{base}/length")).send().await.unwrap();
        let length = answer.bytes(99).await.unwrap();
        assert_eq!(length, content.len().to_string());
    }
    tasks.shut_down(PATIENCE).await;
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order_to_one_who_reads_slowly() {
    let (directory, shelf) = shelf(0);
    let tasks = TaskSet::under(&Stop::new());
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let socket = MarkedSocket { listener, mark: () };
    let serve = |stop| async move {
        serve(socket, shelf, ServeConfig::default(), stop).await;
    };
    tasks.spawn("server", serve).await;
    let mut client = UnixStream::connect(&path).await.unwrap();
    let asked = "GET /7 HTTP/1.1\r\nhost: a\r\n\r\nGET /length HTTP/1.1\r\nhost: a\r\n\r\n\
                 GET /9 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    client.write_all(asked.as_bytes()).await.unwrap();
    let (mut found, mut piece) = (Vec::new(), vec![0; 777_777]);
    loop {
        tokio::time::sleep(Duration::from_millis(2)).await;
        match client.read(&mut piece).await.unwrap() {
            0 => break,
            count => found.extend_from_slice(&piece[..count]),
        }
    }
    let content = content();
    let rest = &found[after(&found, b"\r\n\r\n")..];
    let (first, rest) = rest.split_at(content.len() - 7);
    assert!(first == &content[7..]);
    let rest = &rest[after(rest, b"\r\n\r\n")..];
    let length = content.len().to_string();
    assert!(rest.starts_with(length.as_bytes()));
    let rest = &rest[after(rest, b"\r\n\r\n")..];
    assert!(rest == &content[9..]);
    tasks.shut_down(PATIENCE).await;
}

fn after(bytes: &[u8], mark: &[u8]) -> usize {
    let at = bytes.windows(mark.len()).position(|seen| seen == mark);
    at.unwrap() + mark.len()
}

#[tokio::test]
async fn a_file_that_is_shorter_than_promised_ends_the_connection() {
    let (_directory, shelf) = shelf(1);
    let tasks = TaskSet::under(&Stop::new());
    let base = start(&tasks, shelf).await;
    let client = HttpClient::new(ClientConfig::default());
    let answer = client.get(format!("{base}/0")).send().await.unwrap();
    answer.bytes(64 << 20).await.unwrap_err();
    tasks.shut_down(PATIENCE).await;
}
