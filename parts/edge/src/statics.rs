//! `[[statics]]`: files of an app's image, or of a bucket, that the edge serves by itself, while the program is busy or
//! the machine rests.
//!
//! Source: <https://fly.io/docs/reference/configuration/#the-statics-sections>. Files of the image are as they are there,
//! not what a running machine changed, and never those of a volume. Conditions and ranges: RFC 9110, 13 and 14.

mod answer;
mod bucket;
mod condition;
mod date;
mod layers;
mod media_type;

use std::path::PathBuf;
use std::sync::Arc;

use mayfly_machine::StaticSpec;
use mayfly_types::MachineId;

pub(crate) use answer::serve;
pub use bucket::{BucketConfig, Buckets};

/// Knows where the files of machines' images lie.
pub trait StaticFiles: Send + Sync + 'static {
    /// The directories of the machine's image for overlayfs, topmost first; `None` if they are not on this server.
    fn layers(&self, machine: MachineId) -> Option<Vec<PathBuf>>;
}

/// For edges on servers without machines.
impl StaticFiles for () {
    fn layers(&self, _: MachineId) -> Option<Vec<PathBuf>> {
        None
    }
}

/// A file that a request may mean. Whether it exists is not known yet; where it does not, the app is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// In the image, without empty, `.` and `..` components.
    path: Vec<String>,
    /// Served if the path names a directory and the request's path ends with `/`.
    index: Option<String>,
    /// The request's path ends with `/` or is the mapping's prefix.
    in_directory: bool,
    /// Where the file lies, if not in the image; the path is then the object's key.
    pub(crate) bucket: Option<String>,
}

impl Wanted {
    /// The file that a `GET` or `HEAD` of `path`, without query, means by the mapping with the longest prefix.
    pub(crate) fn by(statics: &[StaticSpec], method: &str, path: &str) -> Option<Wanted> {
        if statics.is_empty() || !matches!(method, "GET" | "HEAD") {
            return None;
        }
        let mapped = statics
            .iter()
            .filter_map(|spec| {
                let prefix = spec.url_prefix.trim_end_matches('/');
                let rest = path.strip_prefix(prefix)?;
                (rest.is_empty() || rest.starts_with('/')).then_some((prefix.len(), spec, rest))
            })
            .max_by_key(|(length, ..)| *length);
        let (_, spec, rest) = mapped?;
        let mut file = components(&spec.guest_path.replace('%', "%25"))?;
        file.extend(components(rest)?);
        let in_directory = rest.ends_with('/') || rest.is_empty();
        Some(Wanted {
            path: file,
            index: spec.index_document.clone().filter(|_| in_directory),
            in_directory,
            bucket: spec.bucket.clone(),
        })
    }
}

/// The decoded components of a path; `None` if one of them is none of a plain file's.
fn components(path: &str) -> Option<Vec<String>> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(|part| {
            let part = decode(part)?;
            let plain = part != ".." && part != "." && !part.contains(['/', '\0']);
            plain.then_some(part)
        })
        .collect()
}

/// Undoes percent-encoding (RFC 3986, 2.1); `None` for what is not UTF-8 or not encoded so.
fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// The directories to look in for an app's files: those of the first machine whose image is on this server.
pub(crate) fn directories(
    files: &Arc<dyn StaticFiles>,
    machines: impl Iterator<Item = MachineId>,
) -> Option<Vec<PathBuf>> {
    machines
        .into_iter()
        .find_map(|machine| files.layers(machine))
}

#[cfg(test)]
mod tests;
