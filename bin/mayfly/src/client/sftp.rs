//! Files of a machine, by version 3 of the SFTP protocol over an exec stream.

mod wire;

use std::collections::HashMap;
use std::io::{Read, Write};

use bytes::{Bytes, BytesMut};

use super::{ExecEnd, ExecStream, FromProgram};
use wire::{Fields, Request};

/// Bytes of one read or write.
const PIECE: usize = 128 << 10;
/// Requests under way at once, so that the distance costs once and not per piece.
const UNDER_WAY_MAX: usize = 16;

const OPEN_READ: u32 = 1;
const OPEN_WRITE: u32 = 2 | 8 | 16;

const STATUS: u8 = 101;
const END_OF_FILE: u32 = 1;

/// A session with the file server of a machine.
pub(crate) struct Sftp {
    stream: ExecStream,
    received: BytesMut,
    next_id: u32,
    /// Answers that came before somebody asked for them.
    early: HashMap<u32, Bytes>,
    /// What the server said beside answers.
    complaints: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SftpError {
    #[error("{path}: {text}")]
    Refused { path: String, text: String },
    #[error("the machine's file server ended: {0}")]
    Ended(String),
    #[error("the machine's file server answered something else than was asked")]
    Unexpected,
    #[error("the connection to the machine")]
    Connection(#[source] anyhow::Error),
    #[error("{path}")]
    Local {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    File,
    Directory,
    Link,
    Other,
}

/// A file of the machine.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) kind: FileKind,
    /// Permissions alone.
    pub(crate) mode: u32,
    /// As `ls -l` shows it.
    pub(crate) line: String,
}

impl Sftp {
    pub(crate) async fn begin(stream: ExecStream) -> Result<Self, SftpError> {
        let mut sftp = Sftp {
            stream,
            received: BytesMut::new(),
            next_id: 1,
            early: HashMap::new(),
            complaints: Vec::new(),
        };
        sftp.send(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).await?;
        match sftp.packet().await?.first() {
            Some(2) => Ok(sftp),
            _ => Err(SftpError::Unexpected),
        }
    }

    pub(crate) async fn stat(&mut self, path: &str) -> Result<Entry, SftpError> {
        let answer = self.ask(Request::of(17).text(path), path).await?;
        attributes(&answer).map(|mode| entry(path.to_owned(), String::new(), mode))
    }

    pub(crate) async fn absolute(&mut self, path: &str) -> Result<String, SftpError> {
        let answer = self.ask(Request::of(16).text(path), path).await?;
        let mut fields = Fields::new(&answer[5..]);
        let name = fields.u32().and_then(|_| fields.string());
        name.map(lossy).ok_or(SftpError::Unexpected)
    }

    /// What is in a directory, without the dots, by name.
    pub(crate) async fn list(&mut self, path: &str) -> Result<Vec<Entry>, SftpError> {
        let handle = self.handle(Request::of(11).text(path), path).await?;
        let mut entries = Vec::new();
        loop {
            let id = self.request(Request::of(12).bytes(&handle)).await?;
            let answer = self.answer(id).await?;
            if answer[0] == STATUS {
                if status(&answer).0 == END_OF_FILE {
                    break;
                }
                return Err(refused(path, &answer));
            }
            let mut fields = Fields::new(&answer[5..]);
            for _ in 0..fields.u32().unwrap_or(0) {
                let read = (|| {
                    let name = lossy(fields.string()?);
                    let line = lossy(fields.string()?);
                    Some(entry(name, line, fields.attributes()?))
                })();
                entries.push(read.ok_or(SftpError::Unexpected)?);
            }
        }
        self.close(&handle).await?;
        entries.retain(|entry| entry.name != "." && entry.name != "..");
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// Copies a file of the machine into `target`; how many bytes.
    pub(crate) async fn get(
        &mut self,
        path: &str,
        target: &mut impl Write,
        local: &str,
    ) -> Result<u64, SftpError> {
        let open = Request::of(3).text(path).u32(OPEN_READ).u32(0);
        let handle = self.handle(open, path).await?;
        let read = |offset: u64| {
            let length = u32::try_from(PIECE).expect("a piece is small");
            Request::of(5).bytes(&handle).u64(offset).u32(length)
        };
        let mut asked = std::collections::VecDeque::new();
        let (mut next, mut written) = (0, 0);
        let mut ended = false;
        while !ended || !asked.is_empty() {
            while !ended && asked.len() < UNDER_WAY_MAX {
                asked.push_back(self.request(read(next)).await?);
                next += PIECE as u64;
            }
            let Some(id) = asked.pop_front() else {
                break;
            };
            let answer = self.answer(id).await?;
            if answer[0] == STATUS {
                if status(&answer).0 != END_OF_FILE {
                    return Err(refused(path, &answer));
                }
                ended = true;
                continue;
            }
            let data = Fields::new(&answer[5..])
                .string()
                .ok_or(SftpError::Unexpected)?;
            target.write_all(data).map_err(|source| SftpError::Local {
                path: local.to_owned(),
                source,
            })?;
            written += data.len() as u64;
            if data.len() < PIECE {
                // The end, most likely; what was asked behind it is asked again in its right place.
                for id in asked.drain(..) {
                    self.answer(id).await?;
                }
                next = written;
                ended = false;
            }
        }
        self.close(&handle).await?;
        Ok(written)
    }

    /// Copies `source` into a file of the machine and gives it `mode`; how many bytes.
    pub(crate) async fn put(
        &mut self,
        source: &mut impl Read,
        local: &str,
        path: &str,
        mode: u32,
    ) -> Result<u64, SftpError> {
        let open = Request::of(3).text(path).u32(OPEN_WRITE).u32(4).u32(mode);
        let handle = self.handle(open, path).await?;
        let mut asked = std::collections::VecDeque::new();
        let mut piece = vec![0; PIECE];
        let mut offset = 0;
        loop {
            let length = source.read(&mut piece).map_err(|error| SftpError::Local {
                path: local.to_owned(),
                source: error,
            })?;
            if length == 0 {
                break;
            }
            let write = Request::of(6)
                .bytes(&handle)
                .u64(offset)
                .bytes(&piece[..length]);
            asked.push_back(self.request(write).await?);
            offset += length as u64;
            if asked.len() >= UNDER_WAY_MAX
                && let Some(id) = asked.pop_front()
            {
                self.done(id, path).await?;
            }
        }
        for id in asked {
            self.done(id, path).await?;
        }
        // A file that was there before keeps its mode otherwise.
        let set = Request::of(10).bytes(&handle).u32(4).u32(mode);
        self.ask(set, path).await?;
        self.close(&handle).await?;
        Ok(offset)
    }

    pub(crate) async fn make_directory(&mut self, path: &str, mode: u32) -> Result<(), SftpError> {
        let make = Request::of(14).text(path).u32(4).u32(mode);
        self.ask(make, path).await.map(drop)
    }

    pub(crate) async fn set_mode(&mut self, path: &str, mode: u32) -> Result<(), SftpError> {
        let set = Request::of(9).text(path).u32(4).u32(mode);
        self.ask(set, path).await.map(drop)
    }

    pub(crate) async fn remove(&mut self, path: &str) -> Result<(), SftpError> {
        self.ask(Request::of(13).text(path), path).await.map(drop)
    }

    pub(crate) async fn remove_directory(&mut self, path: &str) -> Result<(), SftpError> {
        self.ask(Request::of(15).text(path), path).await.map(drop)
    }

    pub(crate) async fn rename(&mut self, from: &str, to: &str) -> Result<(), SftpError> {
        let rename = Request::of(18).text(from).text(to);
        self.ask(rename, from).await.map(drop)
    }

    async fn handle(&mut self, request: Request, path: &str) -> Result<Vec<u8>, SftpError> {
        let answer = self.ask(request, path).await?;
        let handle = Fields::new(&answer[5..]).string();
        handle.map(<[u8]>::to_vec).ok_or(SftpError::Unexpected)
    }

    async fn close(&mut self, handle: &[u8]) -> Result<(), SftpError> {
        self.ask(Request::of(4).bytes(handle), "close")
            .await
            .map(drop)
    }

    /// The answer to one request; a refusal is an error.
    async fn ask(&mut self, request: Request, path: &str) -> Result<Bytes, SftpError> {
        let id = self.request(request).await?;
        self.done(id, path).await
    }

    async fn done(&mut self, id: u32, path: &str) -> Result<Bytes, SftpError> {
        let answer = self.answer(id).await?;
        if answer[0] == STATUS && status(&answer).0 != 0 {
            return Err(refused(path, &answer));
        }
        Ok(answer)
    }

    async fn request(&mut self, request: Request) -> Result<u32, SftpError> {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.send(&request.framed(id)).await?;
        Ok(id)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), SftpError> {
        self.stream
            .input(bytes)
            .await
            .map_err(SftpError::Connection)
    }

    async fn answer(&mut self, id: u32) -> Result<Bytes, SftpError> {
        loop {
            if let Some(answer) = self.early.remove(&id) {
                return Ok(answer);
            }
            let packet = self.packet().await?;
            let its = Fields::new(packet.get(1..).unwrap_or_default()).u32();
            let its = its.ok_or(SftpError::Unexpected)?;
            if its == id {
                return Ok(packet);
            }
            self.early.insert(its, packet);
        }
    }

    async fn packet(&mut self) -> Result<Bytes, SftpError> {
        loop {
            if let Some(length) = Fields::new(&self.received).u32() {
                let length = length as usize;
                if self.received.len() >= 4 + length {
                    let packet = self.received.split_to(4 + length).freeze();
                    return Ok(packet.slice(4..));
                }
            }
            match self.stream.next().await.map_err(SftpError::Connection)? {
                FromProgram::Stdout(bytes) => self.received.extend_from_slice(&bytes),
                FromProgram::Stderr(bytes) => self.complaints.extend_from_slice(&bytes),
                FromProgram::End(ExecEnd::Error(error)) => return Err(SftpError::Ended(error)),
                FromProgram::End(end) => {
                    let said = lossy(&self.complaints);
                    return Err(SftpError::Ended(format!("{end:?} {said}")));
                }
            }
        }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn attributes(answer: &[u8]) -> Result<u32, SftpError> {
    let mut fields = Fields::new(&answer[5..]);
    fields.attributes().ok_or(SftpError::Unexpected)
}

fn entry(name: String, line: String, mode: u32) -> Entry {
    let kind = match mode & 0o170_000 {
        0o040_000 => FileKind::Directory,
        0o100_000 => FileKind::File,
        0o120_000 => FileKind::Link,
        _ => FileKind::Other,
    };
    Entry {
        name,
        kind,
        mode: mode & 0o7777,
        line,
    }
}

/// Code and text of a status.
fn status(answer: &[u8]) -> (u32, String) {
    let mut fields = Fields::new(&answer[5..]);
    let code = fields.u32().unwrap_or(u32::MAX);
    (code, fields.string().map(lossy).unwrap_or_default())
}

fn refused(path: &str, answer: &[u8]) -> SftpError {
    let (_, text) = status(answer);
    SftpError::Refused {
        path: path.to_owned(),
        text,
    }
}
