//! Files that lie in a bucket of an object storage (`tigris_bucket`): the edge fetches them with a key that the
//! operator configured, for the apps that may.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use mayfly_buckets::{Bucket, NO_CONTENT};
use mayfly_net::{ClientConfig, HeaderName, HttpClient, HttpError, Method, Response, header};
use mayfly_types::{AppName, Timestamp};

use super::Wanted;
use crate::http::field::contains;
use crate::http::{AnswerSource, BodyError, Form, HeadError, Piece, RequestHead, ResponseHead};

/// What of a client's request decides which bytes it gets.
const ASKED: [HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// What of a storage's answer a client sees.
const SHOWN: [HeaderName; 9] = [
    header::ACCEPT_RANGES,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
];

/// A storage's words about an error, read so far at most.
const ERROR_MAX: usize = 4096;

/// A bucket that apps may name.
#[derive(Clone, Debug)]
pub struct BucketConfig {
    pub bucket: Bucket,
    /// The apps that may; `None` means all.
    pub apps: Option<Vec<AppName>>,
}

/// The buckets whose files apps of this server may show, by name.
#[derive(Clone)]
pub struct Buckets {
    client: HttpClient,
    known: BTreeMap<String, BucketConfig>,
}

/// Why a file of a bucket cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BucketError {
    #[error(
        "bucket {0} is not one of this cloud's: its operator names those that apps may use in [statics.buckets]"
    )]
    Unknown(String),
    #[error(
        "app {app} may not use bucket {bucket}: its operator says which may in [statics.buckets]"
    )]
    NotPermitted { app: AppName, bucket: String },
    #[error("{endpoint} has no bucket {bucket}")]
    Missing { bucket: String, endpoint: String },
    #[error("bucket {bucket} answered {status}")]
    Refused { bucket: String, status: u16 },
    #[error("ask for a file of bucket {bucket}")]
    Ask {
        bucket: String,
        #[source]
        source: HttpError,
    },
}

impl Buckets {
    /// `ca_file` holds authorities to trust beside the system's.
    pub fn new(known: BTreeMap<String, BucketConfig>, ca_file: Option<PathBuf>) -> Buckets {
        let client = HttpClient::new(ClientConfig {
            ca_file,
            ..ClientConfig::default()
        });
        Buckets { client, known }
    }

    /// Asks for a file; `None` if there is none, so that the app may answer.
    pub(crate) async fn serve(
        &self,
        bucket: &str,
        wanted: &Wanted,
        app: &AppName,
        request: &RequestHead,
        now: Timestamp,
    ) -> Result<Option<BucketAnswer>, BucketError> {
        let config = self
            .known
            .get(bucket)
            .ok_or_else(|| BucketError::Unknown(bucket.to_owned()))?;
        if config.apps.as_ref().is_some_and(|apps| !apps.contains(app)) {
            return Err(BucketError::NotPermitted {
                app: app.clone(),
                bucket: bucket.to_owned(),
            });
        }
        let mut key = wanted.path.clone();
        if wanted.in_directory {
            match &wanted.index {
                Some(index) => key.push(index.clone()),
                None => return Ok(None),
            }
        }
        let method = if request.is_head() {
            Method::HEAD
        } else {
            Method::GET
        };
        let key = key.iter().map(String::as_str);
        let mut asked = config
            .bucket
            .request(&self.client, method, key, NO_CONTENT, now);
        for name in ASKED {
            if let Some(value) = request.get(name.as_str()) {
                asked = asked.header(name, value);
            }
        }
        let answer = asked.send().await.map_err(|source| BucketError::Ask {
            bucket: bucket.to_owned(),
            source,
        })?;
        match answer.status().as_u16() {
            200 | 206 | 304 | 412 | 416 => Ok(Some(BucketAnswer::new(answer, request.is_head()))),
            404 if lacks_bucket(answer).await => Err(BucketError::Missing {
                bucket: config.bucket.name.clone(),
                endpoint: config.bucket.endpoint.clone(),
            }),
            404 => Ok(None),
            status => Err(BucketError::Refused {
                bucket: bucket.to_owned(),
                status,
            }),
        }
    }
}

/// Whether a storage that answered 404 means the bucket, not the file; to `HEAD` it does not say.
async fn lacks_bucket(mut answer: Response) -> bool {
    let mut words = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        words.extend_from_slice(&piece);
        if words.len() > ERROR_MAX {
            break;
        }
    }
    contains(&words, b"<code>nosuchbucket</code>")
}

impl std::fmt::Debug for Buckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buckets")
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

/// A storage's answer, as if a machine had given it.
#[derive(Debug)]
pub(crate) struct BucketAnswer {
    head: Vec<u8>,
    body: Option<Response>,
    piece: Bytes,
}

impl BucketAnswer {
    fn new(answer: Response, bodiless: bool) -> BucketAnswer {
        let status = answer.status();
        let reason = status.canonical_reason().unwrap_or("OK");
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16());
        // The storage's words about an error are in XML and for nobody's eyes.
        let shows_body = status.is_success();
        for name in SHOWN {
            let framing = name == header::CONTENT_LENGTH || name == header::CONTENT_TYPE;
            if let Some(value) = answer.header(name.clone())
                && (shows_body || !framing)
            {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        if !shows_body && status.as_u16() != 304 {
            head.push_str("content-length: 0\r\n");
        } else if shows_body && answer.content_length().is_none() {
            head.push_str("connection: close\r\n");
        }
        head.push_str("\r\n");
        BucketAnswer {
            head: head.into_bytes(),
            body: (shows_body && !bodiless).then_some(answer),
            piece: Bytes::new(),
        }
    }
}

impl AnswerSource for BucketAnswer {
    async fn head(&mut self, method: &str, into: &mut ResponseHead) -> Result<(), HeadError> {
        match into.read(&self.head, method) {
            Ok(Some(_)) => Ok(()),
            _ => Err(HeadError::Garbled),
        }
    }

    fn buffered(&mut self, _: Form) -> Result<Piece<'_>, BodyError> {
        Ok(Piece {
            data: &[],
            last: self.body.is_none(),
        })
    }

    async fn next(&mut self, _: Form) -> Result<Piece<'_>, BodyError> {
        let read = match &mut self.body {
            None => None,
            Some(body) => body
                .chunk()
                .await
                .map_err(|error| BodyError::Read(std::io::Error::other(error)))?,
        };
        match read {
            Some(piece) => self.piece = piece,
            None => {
                self.piece = Bytes::new();
                self.body = None;
            }
        }
        Ok(Piece {
            data: &self.piece,
            last: self.body.is_none(),
        })
    }

    fn trailers(&self) -> &[u8] {
        &[]
    }

    fn tunnel(&mut self) {}
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Asks a storage with one bucket, `there`, which is empty.
    async fn ask(bucket: &str) -> Result<Option<BucketAnswer>, BucketError> {
        let storage = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = BucketConfig {
            bucket: Bucket {
                endpoint: format!("http://{}", storage.local_addr().unwrap()),
                region: "auto".to_owned(),
                name: bucket.to_owned(),
                key: None,
            },
            apps: None,
        };
        let answer = async {
            let (mut client, _) = storage.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let count = client.read(&mut asked).await.unwrap();
            let there = asked[..count].starts_with(b"GET /there/");
            let code = if there { "NoSuchKey" } else { "NoSuchBucket" };
            let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
            let head = "HTTP/1.1 404 Not Found\r\nContent-Type: application/xml\r\n";
            let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            client.write_all(text.as_bytes()).await.unwrap();
        };
        let buckets = Buckets::new([(bucket.to_owned(), config)].into(), None);
        let mut head = RequestHead::default();
        head.read(b"GET /site/a.css HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let mapping = mayfly_machine::StaticSpec {
            guest_path: "/site".to_owned(),
            url_prefix: "/site".to_owned(),
            bucket: Some(bucket.to_owned()),
            index_document: None,
        };
        let wanted = Wanted::by(&[mapping], "GET", "/site/a.css").unwrap();
        let app = "web".parse().unwrap();
        let asked = buckets.serve(bucket, &wanted, &app, &head, Timestamp::from_millis(0));
        tokio::join!(asked, answer).0
    }

    #[tokio::test]
    async fn a_bucket_that_is_not_there_is_no_missing_file() {
        assert!(matches!(ask("there").await, Ok(None)));
        let error = ask("gone").await.unwrap_err().to_string();
        assert!(error.ends_with(" has no bucket gone"), "{error}");
    }
}
