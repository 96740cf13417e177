//! Objects that a storage is given in parts,
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use mayfly_content::digest_of_rest;
use mayfly_net::{Body, Method, Response, header};
use mayfly_types::Digest;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::{PIECE, Remote, again_while_away, answered};

/// What a storage takes at most of one object.
pub(super) const PARTS_MAX: u64 = 10_000;
/// An answer is a short document, and a list of a thousand uploads a longer one.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// An object of which some parts may be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) digest: Digest,
    /// The storage's name for this upload.
    pub(crate) upload: String,
}

impl Remote {
    /// Bytes of each part but the last, such that there are not too many.
    pub(crate) fn part_bytes(&self, length: u64) -> u64 {
        self.place.part_bytes.max(length.div_ceil(PARTS_MAX))
    }

    /// Begins an upload; returns the storage's name for it.
    pub(crate) async fn begin(&self, digest: Digest) -> io::Result<String> {
        let key = digest.hex();
        let answer = again_while_away(async || {
            let request = self.ask(Method::POST, &key, &[("uploads", "")], b"");
            answered(request.send().await, &[200])
        });
        let text = text_of(answer.await?).await?;
        let upload = element(&text, "UploadId").next();
        upload.ok_or_else(|| io::Error::other("the object storage began an upload without a name"))
    }

    /// Stores the part from byte `from` on, `count` of them; returns the storage's mark for it. Parts count from 1.
    ///
    /// # Errors
    /// `NotFound` if the storage does not know the upload any more.
    pub(crate) async fn put_part(
        &self,
        begun: &Begun,
        number: u64,
        path: &Path,
        (from, count): (u64, u64),
    ) -> io::Result<String> {
        let open = || -> io::Result<File> {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(from))?;
            Ok(file)
        };
        let part = open()?.take(count);
        let content = tokio::task::spawn_blocking(move || digest_of_rest(part));
        let content = content.await.map_err(io::Error::other)??.hex();
        let (key, number) = (begun.digest.hex(), number.to_string());
        let query = [("partNumber", number.as_str()), ("uploadId", &begun.upload)];
        let answer = again_while_away(async || {
            let part = tokio::fs::File::from_std(open()?).take(count);
            let part = ReaderStream::with_capacity(part, PIECE);
            let request = self
                .request(Method::PUT, &key, &query, &content)
                .header(header::CONTENT_LENGTH, count.to_string())
                // The head of the answer comes after the whole part went up.
                .head_timeout(None)
                .body(Body::stream(part));
            answered(request.send().await, &[200])
        });
        let answer = answer.await?;
        let mark = answer.header(header::ETAG).map(str::to_owned);
        mark.ok_or_else(|| io::Error::other("the object storage took a part without a mark"))
    }

    /// Makes the parts one object.
    ///
    /// # Errors
    /// `NotFound` if the storage does not know the upload any more.
    pub(crate) async fn complete(&self, begun: &Begun, marks: &[String]) -> io::Result<()> {
        let part = |(index, mark): (usize, &String)| {
            let number = index + 1;
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{mark}</ETag></Part>")
        };
        let parts: String = marks.iter().enumerate().map(part).collect();
        let list = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let key = begun.digest.hex();
        let query = [("uploadId", begun.upload.as_str())];
        let answer = again_while_away(async || {
            let request = self
                .ask(Method::POST, &key, &query, list.as_bytes())
                // Some need minutes to put a large one together.
                .head_timeout(None);
            answered(request.send().await, &[200])
        });
        let text = text_of(answer.await?).await?;
        // The status comes before the work is done.
        match element(&text, "Code").next() {
            Some(code) if text.contains("<Error>") => Err(io::Error::other(format!(
                "the object storage could not put the parts together: {code}"
            ))),
            _ => Ok(()),
        }
    }

    /// Gives an upload up; one that is not there is gone.
    pub(crate) async fn abort(&self, begun: &Begun) -> io::Result<()> {
        let query = [("uploadId", begun.upload.as_str())];
        let request = self.ask(Method::DELETE, &begun.digest.hex(), &query, b"");
        answered(request.send().await, &[200, 204, 404]).map(drop)
    }

    /// The uploads under way that a storage knows of among our objects, a thousand at most.
    pub(crate) async fn begun(&self) -> io::Result<Vec<Begun>> {
        let prefix = format!("{}/", self.key_parts("").join("/").trim_end_matches('/'));
        let query = [("uploads", ""), ("prefix", prefix.as_str())];
        let request = self.ask_bucket(&query);
        let text = text_of(answered(request.send().await, &[200])?).await?;
        let uploads = element(&text, "Upload").filter_map(|upload| {
            let key = element(&upload, "Key").next()?;
            let hex = key.strip_prefix(&prefix)?;
            Some(Begun {
                digest: format!("sha256:{hex}").parse().ok()?,
                upload: element(&upload, "UploadId").next()?,
            })
        });
        Ok(uploads.collect())
    }
}

async fn text_of(answer: Response) -> io::Result<String> {
    let bytes = answer.bytes(ANSWER_BYTES_MAX).await;
    let bytes = bytes.map_err(|error| io::Error::new(io::ErrorKind::NetworkDown, error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What stands in the elements of this name, which contain none of the same name.
fn element(text: &str, name: &str) -> impl Iterator<Item = String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(open.as_str())?;
        let (content, after) = after.split_once(close.as_str())?;
        rest = after;
        Some(unescaped(content))
    })
}

fn unescaped(text: &str) -> String {
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
    ];
    let text = plain
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    text.replace("&apos;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_in_what_storages_answer() {
        let text = "<?xml version=\"1.0\"?><R><UploadId>a&amp;b&quot;</UploadId><Upload><Key>x</Key>\
                    </Upload><Upload><Key>y</Key></Upload></R>";
        assert!(element(text, "UploadId").eq(["a&b\""]));
        let keys = element(text, "Upload").map(|one| element(&one, "Key").next().unwrap());
        assert!(keys.eq(["x", "y"]));
        assert_eq!(element(text, "Code").next(), None);
    }
}
