//! Requests and answers as bytes.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::attributes::Attributes;

/// A field that is not there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Malformed;

/// The fields of a request, from the front.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Fields(bytes)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed)?;
        Ok(u32::from_be_bytes(bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        let bytes = self.take(8)?.try_into().map_err(|_| Malformed)?;
        Ok(u64::from_be_bytes(bytes))
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    /// An empty path is where the server is.
    pub(super) fn path(&mut self) -> Result<PathBuf, Malformed> {
        let bytes = self.string()?;
        Ok(match bytes {
            [] => PathBuf::from("."),
            bytes => PathBuf::from(OsStr::from_bytes(bytes)),
        })
    }
}

/// One answer.
pub(super) struct Answer(Vec<u8>);

const VERSION: u8 = 2;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRIBUTES: u8 = 105;

const OK: u32 = 0;
const END_OF_FILE: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;
const FAILURE: u32 = 4;
const BAD_MESSAGE: u32 = 5;
const UNSUPPORTED: u32 = 8;

impl Answer {
    fn of(kind: u8, id: u32) -> Self {
        Answer(vec![kind]).u32(id)
    }

    pub(super) fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn string(self, bytes: &[u8]) -> Self {
        let mut longer = self.u32(u32::try_from(bytes.len()).expect("answers are short"));
        longer.0.extend(bytes);
        longer
    }

    pub(super) fn version(version: u32, extensions: &[(&str, &str)]) -> Self {
        let mut answer = Answer(vec![VERSION]).u32(version);
        for (name, value) in extensions {
            answer = answer.string(name.as_bytes()).string(value.as_bytes());
        }
        answer
    }

    fn status(id: u32, code: u32, text: &str) -> Self {
        Answer::of(STATUS, id)
            .u32(code)
            .string(text.as_bytes())
            .string(b"en")
    }

    pub(super) fn ok(id: u32) -> Self {
        Answer::status(id, OK, "Success")
    }

    pub(super) fn end_of_file(id: u32) -> Self {
        Answer::status(id, END_OF_FILE, "End of file")
    }

    pub(super) fn bad_message(id: u32) -> Self {
        Answer::status(id, BAD_MESSAGE, "Malformed request")
    }

    pub(super) fn unsupported(id: u32) -> Self {
        Answer::status(id, UNSUPPORTED, "Operation unsupported")
    }

    pub(super) fn failure(id: u32, error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => NO_SUCH_FILE,
            io::ErrorKind::PermissionDenied => PERMISSION_DENIED,
            _ => FAILURE,
        };
        Answer::status(id, code, &error.to_string())
    }

    pub(super) fn handle(id: u32, handle: &[u8]) -> Self {
        Answer::of(HANDLE, id).string(handle)
    }

    pub(super) fn data(id: u32, data: &[u8]) -> Self {
        Answer::of(DATA, id).string(data)
    }

    pub(super) fn attributes(id: u32, attributes: &Attributes) -> Self {
        attributes.write(Answer::of(ATTRIBUTES, id))
    }

    /// A path alone.
    pub(super) fn name(id: u32, path: &Path) -> Self {
        let bytes = path.as_os_str().as_bytes();
        let answer = Answer::of(NAME, id).u32(1).string(bytes).string(bytes);
        Attributes::default().write(answer)
    }

    /// Name, line for people and attributes of each.
    pub(super) fn names(id: u32, entries: &[(Vec<u8>, String, Attributes)]) -> Self {
        let count = u32::try_from(entries.len()).expect("there are few at once");
        let mut answer = Answer::of(NAME, id).u32(count);
        for (name, line, attributes) in entries {
            answer = attributes.write(answer.string(name).string(line.as_bytes()));
        }
        answer
    }

    /// With its length in front.
    pub(super) fn framed(self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("answers are short");
        let mut whole = length.to_be_bytes().to_vec();
        whole.extend(self.0);
        whole
    }
}
