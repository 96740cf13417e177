use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::condition::{Conditions, Representation, Send, decide};
use super::layers::{Found, LayerFile, find};
use super::{Wanted, date, media_type};
use crate::http::{AnswerSource, BodyError, Form, HeadError, Piece, RequestHead, ResponseHead};

/// Bytes of a file in memory at a time.
const PIECE: usize = 128 * 1024;

/// The answer to a request for a file, as if a machine had given it.
#[derive(Debug)]
pub(crate) struct StaticAnswer {
    pub(super) head: Vec<u8>,
    file: Arc<File>,
    position: u64,
    left: u64,
    piece: Vec<u8>,
    /// The piece was read and not shown yet.
    fresh: bool,
}

/// Looks for the wanted file in `layers`; `None` if it is not there, so that the app may answer.
///
/// # Errors
/// If the disk fails.
pub(crate) async fn serve(
    wanted: Wanted,
    layers: Vec<PathBuf>,
    request: &RequestHead,
) -> io::Result<Option<StaticAnswer>> {
    let value = |name: &str| request.get(name).map(<[u8]>::to_vec);
    let given = [
        value("if-match"),
        value("if-none-match"),
        value("if-modified-since"),
        value("if-unmodified-since"),
        value("if-range"),
        value("range"),
    ];
    let bodiless = request.is_head();
    let opened = tokio::task::spawn_blocking(move || {
        let conditions = Conditions {
            if_match: given[0].as_deref(),
            if_none_match: given[1].as_deref(),
            if_modified_since: given[2].as_deref(),
            if_unmodified_since: given[3].as_deref(),
            if_range: given[4].as_deref(),
            // A range is defined for GET only (RFC 9110, 14.2).
            range: given[5].as_deref().filter(|_| !bodiless),
        };
        open(wanted, &layers, conditions, bodiless)
    });
    opened.await.map_err(io::Error::other)?
}

fn open(
    mut wanted: Wanted,
    layers: &[PathBuf],
    conditions: Conditions<'_>,
    bodiless: bool,
) -> io::Result<Option<StaticAnswer>> {
    let mut found = find(layers, &wanted.path)?;
    if let (Found::Directory, Some(index)) = (&found, wanted.index.take()) {
        wanted.path.push(index);
        found = find(layers, &wanted.path)?;
    }
    let Found::File(found) = found else {
        return Ok(None);
    };
    let name = wanted.path.last().map_or("", String::as_str);
    StaticAnswer::new(found, name, conditions, bodiless).map(Some)
}

impl StaticAnswer {
    fn new(
        found: LayerFile,
        name: &str,
        conditions: Conditions<'_>,
        bodiless: bool,
    ) -> io::Result<StaticAnswer> {
        let file = Representation {
            etag: etag(&found),
            modified: found.modified,
            length: found.length,
        };
        let send = decide(conditions, &file);
        let (status, reason, position, length) = match send {
            Send::Whole => (200, "OK", 0, file.length),
            Send::Part { first, last } => (206, "Partial Content", first, last - first + 1),
            Send::NotModified => (304, "Not Modified", 0, 0),
            Send::PreconditionFailed => (412, "Precondition Failed", 0, 0),
            Send::RangeNotSatisfiable => (416, "Range Not Satisfiable", 0, 0),
        };
        let mut head = format!("HTTP/1.1 {status} {reason}\r\nETag: {}\r\n", file.etag);
        if let Some(date) = date::format(file.modified) {
            head.push_str(&format!("Last-Modified: {date}\r\n"));
        }
        match send {
            Send::Whole | Send::Part { .. } => {
                let media_type = media_type::of(name);
                head.push_str(&format!(
                    "Content-Type: {media_type}\r\nAccept-Ranges: bytes\r\nContent-Length: {length}\r\n"
                ));
            }
            Send::NotModified => {}
            Send::PreconditionFailed | Send::RangeNotSatisfiable => {
                head.push_str("Content-Length: 0\r\n");
            }
        }
        if let Send::Part { first, last } = send {
            head.push_str(&format!(
                "Content-Range: bytes {first}-{last}/{}\r\n",
                file.length
            ));
        } else if send == Send::RangeNotSatisfiable {
            head.push_str(&format!("Content-Range: bytes */{}\r\n", file.length));
        }
        head.push_str("\r\n");
        let mut answer = StaticAnswer {
            head: head.into_bytes(),
            file: Arc::new(found.file),
            position,
            left: if bodiless { 0 } else { length },
            piece: Vec::new(),
            fresh: true,
        };
        // The first bytes leave together with the head.
        answer.piece = read(&answer.file, answer.position, answer.left)?;
        Ok(answer)
    }

    /// The piece that was read, and that it has been shown.
    fn show(&mut self) -> Piece<'_> {
        self.fresh = false;
        self.position += self.piece.len() as u64;
        self.left = self.left.saturating_sub(self.piece.len() as u64);
        Piece {
            data: &self.piece,
            last: self.left == 0,
        }
    }
}

fn read(file: &File, position: u64, left: u64) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
    file.read_exact_at(&mut piece, position)?;
    Ok(piece)
}

/// By the layer's digest: equal names in two images may have equal dates, but not equal layers.
fn etag(found: &LayerFile) -> String {
    let mut digest = Sha256::new();
    digest.update(found.layer.as_bytes());
    digest.update(found.modified.to_le_bytes());
    digest.update(found.length.to_le_bytes());
    let hex: String = digest.finalize()[..12]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{hex}\"")
}

impl AnswerSource for StaticAnswer {
    async fn head(&mut self, method: &str, into: &mut ResponseHead) -> Result<(), HeadError> {
        match into.read(&self.head, method) {
            Ok(Some(_)) => Ok(()),
            _ => Err(HeadError::Garbled),
        }
    }

    fn buffered(&mut self, _: Form) -> Result<Piece<'_>, BodyError> {
        if self.fresh {
            return Ok(self.show());
        }
        Ok(Piece {
            data: &[],
            last: self.left == 0,
        })
    }

    async fn next(&mut self, _: Form) -> Result<Piece<'_>, BodyError> {
        if !self.fresh {
            let (file, position, left) = (Arc::clone(&self.file), self.position, self.left);
            let reading = tokio::task::spawn_blocking(move || read(&file, position, left));
            self.piece = reading
                .await
                .map_err(io::Error::other)
                .and_then(|piece| piece)
                .map_err(BodyError::Read)?;
        }
        Ok(self.show())
    }

    fn trailers(&self) -> &[u8] {
        &[]
    }

    fn tunnel(&mut self) {}
}
