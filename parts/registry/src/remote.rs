//! Blobs as objects of a bucket.

mod parts;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mayfly_buckets::NO_CONTENT;
use mayfly_content::digest_of;
use mayfly_net::{Body, ClientConfig, HttpClient, HttpError, Method, Request, Response, header};
use mayfly_runtime::{Backoff, Clock};
use mayfly_types::Digest;
use tokio_util::io::ReaderStream;

use crate::settings::BlobBucket;
pub(crate) use parts::Begun;

const TRIES: u32 = 4;
const PAUSE: Backoff = Backoff {
    first: Duration::from_millis(200),
    most: Duration::from_secs(2),
};
const PIECE: usize = 256 * 1024;

pub(crate) struct Remote {
    client: HttpClient,
    place: BlobBucket,
    clock: Arc<dyn Clock>,
}

impl Remote {
    pub(crate) fn new(place: BlobBucket, clock: Arc<dyn Clock>) -> Self {
        let client = HttpClient::new(ClientConfig {
            ca_file: place.ca_file.clone(),
            ..ClientConfig::default()
        });
        Self {
            client,
            place,
            clock,
        }
    }

    /// Whether content of this length goes in parts.
    pub(crate) fn goes_in_parts(&self, length: u64) -> bool {
        length > self.place.part_bytes
    }

    /// Stores a file's content. A storage that stumbles is asked again a few times.
    pub(crate) async fn put(&self, path: &Path, digest: Digest, length: u64) -> io::Result<()> {
        let key = digest.hex();
        let stored = again_while_away(async || {
            let file = tokio::fs::File::open(path).await?;
            let body = Body::stream(ReaderStream::with_capacity(file, PIECE));
            let request = self
                .request(Method::PUT, &key, &[], &key)
                .header(header::CONTENT_LENGTH, length.to_string())
                // The head of the answer comes after the whole body went up.
                .head_timeout(None)
                .body(body);
            answered(request.send().await, &[200, 201, 204])
        });
        stored.await.map(drop)
    }

    /// The bytes from `from` on, `count` of them.
    pub(crate) async fn get(&self, digest: Digest, from: u64, count: u64) -> io::Result<Response> {
        let mut request = self.request(Method::GET, &digest.hex(), &[], NO_CONTENT);
        if from > 0 || count > 0 {
            let last = from + count.max(1) - 1;
            request = request.header(header::RANGE, format!("bytes={from}-{last}"));
        }
        answered(request.send().await, &[200, 206])
    }

    /// Removes an object; one that is not there is gone.
    pub(crate) async fn delete(&self, digest: Digest) -> io::Result<()> {
        let request = self.request(Method::DELETE, &digest.hex(), &[], NO_CONTENT);
        answered(request.send().await, &[200, 204, 404]).map(drop)
    }

    /// A request with a short body.
    fn ask(&self, method: Method, key: &str, query: &[(&str, &str)], body: &[u8]) -> Request {
        self.request(method, key, query, &digest_of(body).hex())
            .body(Body::bytes(body.to_vec()))
    }

    fn ask_bucket(&self, query: &[(&str, &str)]) -> Request {
        let (bucket, nowhere) = (&self.place.bucket, std::iter::empty());
        let now = self.clock.now();
        bucket.request_with(&self.client, Method::GET, nowhere, query, NO_CONTENT, now)
    }

    fn request(&self, method: Method, key: &str, query: &[(&str, &str)], content: &str) -> Request {
        let parts = self.key_parts(key).into_iter();
        let now = self.clock.now();
        let bucket = &self.place.bucket;
        bucket.request_with(&self.client, method, parts, query, content, now)
    }

    fn key_parts<'a>(&'a self, hex: &'a str) -> Vec<&'a str> {
        let prefix = self.place.prefix.split('/').filter(|part| !part.is_empty());
        prefix.chain(["blobs", "sha256", hex]).collect()
    }
}

/// Asks a few times more if the storage cannot be reached or says that it is not well.
async fn again_while_away(
    mut ask: impl AsyncFnMut() -> io::Result<Response>,
) -> io::Result<Response> {
    let mut tries = 0;
    loop {
        tries += 1;
        match ask().await {
            Err(error) if is_away(&error) && tries < TRIES => {
                tokio::time::sleep(PAUSE.pause(tries - 1)).await;
            }
            other => return other,
        }
    }
}

/// A storage that cannot be reached or says that it is not well.
pub(crate) fn is_away(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NetworkDown
}

fn answered(answer: Result<Response, HttpError>, good: &[u16]) -> io::Result<Response> {
    let away = |source: Box<dyn std::error::Error + Send + Sync>| {
        io::Error::new(io::ErrorKind::NetworkDown, source)
    };
    let answer = answer.map_err(|error| away(Box::new(error)))?;
    match answer.status().as_u16() {
        status if good.contains(&status) => Ok(answer),
        404 => Err(io::ErrorKind::NotFound.into()),
        status @ (429 | 500..=599) => {
            Err(away(format!("the object storage answered {status}").into()))
        }
        status => Err(io::Error::other(format!(
            "the object storage answered {status}"
        ))),
    }
}
