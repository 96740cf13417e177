//! The file server that runs inside a container as the visiting user, so that images need none of their own: version 3
//! of the SFTP protocol (<https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02>) with OpenSSH's
//! `posix-rename` and `fsync`.
//!
//! It is a child of the init that has entered the container and given up its rights like any program, but executes
//! nothing: no file of the image has a part in it, and none of the host's is within its reach. The kernel alone decides
//! which files the user may touch.

mod attributes;
mod files;
mod packet;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use attributes::Attributes;
use files::{Entries, Handles, Open};
use packet::{Answer, Fields, Malformed};

/// The program name that stands for this server.
pub(crate) const PROGRAM: &str = "internal-sftp";

const VERSION: u32 = 3;
/// The longest request: data of a write and its place. OpenSSH's limit.
const REQUEST_MAX: usize = 256 << 10;
const READ_MAX: usize = 255 << 10;
/// Entries of a directory in one answer.
const NAMES_MAX: usize = 100;

const INIT: u8 = 1;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const LSTAT: u8 = 7;
const FSTAT: u8 = 8;
const SETSTAT: u8 = 9;
const FSETSTAT: u8 = 10;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const RMDIR: u8 = 15;
const REALPATH: u8 = 16;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const READLINK: u8 = 19;
const SYMLINK: u8 = 20;
const EXTENDED: u8 = 200;

const FLAG_READ: u32 = 1;
const FLAG_WRITE: u32 = 2;
const FLAG_APPEND: u32 = 4;
const FLAG_CREATE: u32 = 8;
const FLAG_TRUNCATE: u32 = 16;
const FLAG_NEW: u32 = 32;

/// Why a request failed, as it is answered.
enum Refusal {
    Malformed,
    EndOfFile,
    Unsupported,
    Io(io::Error),
}

impl From<Malformed> for Refusal {
    fn from(Malformed: Malformed) -> Self {
        Refusal::Malformed
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal::Io(error)
    }
}

/// Answers requests until the input ends. Returns the exit code.
pub(crate) fn serve() -> i32 {
    match converse(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn converse(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut server = Server::default();
    let mut head = [0; 4];
    let mut request = Vec::new();
    loop {
        match input.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let length = u32::from_be_bytes(head) as usize;
        if length == 0 || length > REQUEST_MAX + 1024 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        request.resize(length, 0);
        input.read_exact(&mut request)?;
        let answer = server.answer(&request)?;
        output.write_all(&answer.framed())?;
        output.flush()?;
    }
}

#[derive(Default)]
struct Server {
    handles: Handles,
}

impl Server {
    fn answer(&mut self, request: &[u8]) -> io::Result<Answer> {
        let malformed = |Malformed| io::Error::from(io::ErrorKind::InvalidData);
        let mut fields = Fields::new(request);
        let kind = fields.byte().map_err(malformed)?;
        if kind == INIT {
            return Ok(Answer::version(
                VERSION,
                &[
                    ("posix-rename@openssh.com", "1"),
                    ("fsync@openssh.com", "1"),
                ],
            ));
        }
        let id = fields.u32().map_err(malformed)?;
        Ok(match self.perform(kind, id, &mut fields) {
            Ok(answer) => answer,
            Err(Refusal::EndOfFile) => Answer::end_of_file(id),
            Err(Refusal::Malformed) => Answer::bad_message(id),
            Err(Refusal::Unsupported) => Answer::unsupported(id),
            Err(Refusal::Io(error)) => Answer::failure(id, &error),
        })
    }

    fn perform(&mut self, kind: u8, id: u32, fields: &mut Fields<'_>) -> Result<Answer, Refusal> {
        match kind {
            OPEN => self.open(id, fields),
            CLOSE => {
                self.handles.close(fields.string()?)?;
                Ok(Answer::ok(id))
            }
            READ => self.read(id, fields),
            WRITE => {
                let file = self.handles.file(fields.string()?)?;
                let offset = fields.u64()?;
                file.write_all_at(fields.string()?, offset)?;
                Ok(Answer::ok(id))
            }
            LSTAT => {
                let found = fs::symlink_metadata(fields.path()?)?;
                Ok(Answer::attributes(id, &Attributes::of(&found)))
            }
            STAT => {
                let found = fs::metadata(fields.path()?)?;
                Ok(Answer::attributes(id, &Attributes::of(&found)))
            }
            FSTAT => {
                let found = self.handles.file(fields.string()?)?.metadata()?;
                Ok(Answer::attributes(id, &Attributes::of(&found)))
            }
            SETSTAT => {
                let path = fields.path()?;
                Attributes::read(fields)?.apply(&path)?;
                Ok(Answer::ok(id))
            }
            FSETSTAT => {
                let file = self.handles.file(fields.string()?)?;
                Attributes::read(fields)?.apply_to(file)?;
                Ok(Answer::ok(id))
            }
            OPENDIR => {
                let entries = Entries::of(&fields.path()?)?;
                let handle = self.handles.open(Open::Directory(entries))?;
                Ok(Answer::handle(id, &handle))
            }
            READDIR => {
                let entries = self.handles.directory(fields.string()?)?;
                let some = entries.next(NAMES_MAX)?;
                if some.is_empty() {
                    return Err(Refusal::EndOfFile);
                }
                Ok(Answer::names(id, &some))
            }
            REMOVE => done(id, fs::remove_file(fields.path()?)),
            MKDIR => {
                let path = fields.path()?;
                let wanted = Attributes::read(fields)?;
                fs::create_dir(&path)?;
                wanted.apply(&path)?;
                Ok(Answer::ok(id))
            }
            RMDIR => done(id, fs::remove_dir(fields.path()?)),
            REALPATH => {
                let path = absolute(&fields.path()?)?;
                Ok(Answer::name(id, &path))
            }
            RENAME => {
                let (from, to) = (fields.path()?, fields.path()?);
                // As the protocol has it, and unlike rename(2), an existing target stays.
                if fs::symlink_metadata(&to).is_ok() {
                    return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
                }
                done(id, fs::rename(from, to))
            }
            READLINK => {
                let target = fs::read_link(fields.path()?)?;
                Ok(Answer::name(id, &target))
            }
            SYMLINK => {
                // OpenSSH sends the target first, and so does everybody since.
                let (target, link) = (fields.path()?, fields.path()?);
                done(id, symlink(target, link))
            }
            EXTENDED => match fields.string()? {
                b"posix-rename@openssh.com" => {
                    let (from, to) = (fields.path()?, fields.path()?);
                    done(id, fs::rename(from, to))
                }
                b"fsync@openssh.com" => {
                    let synced = self.handles.file(fields.string()?)?.sync_all();
                    done(id, synced)
                }
                _ => Err(Refusal::Unsupported),
            },
            _ => Err(Refusal::Unsupported),
        }
    }

    fn open(&mut self, id: u32, fields: &mut Fields<'_>) -> Result<Answer, Refusal> {
        let path = fields.path()?;
        let flags = fields.u32()?;
        let wanted = Attributes::read(fields)?;
        let has = |flag| flags & flag != 0;
        let mut options = OpenOptions::new();
        options
            .read(has(FLAG_READ))
            .write(has(FLAG_WRITE) && !has(FLAG_APPEND))
            .append(has(FLAG_APPEND))
            .create(has(FLAG_CREATE))
            .truncate(has(FLAG_TRUNCATE) && !has(FLAG_APPEND))
            .create_new(has(FLAG_CREATE) && has(FLAG_NEW))
            .mode(wanted.mode().unwrap_or(0o666))
            // A pipe without a reader, or a terminal, must not hold the server up.
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = options.open(path)?;
        let handle = self.handles.open(Open::File(file))?;
        Ok(Answer::handle(id, &handle))
    }

    fn read(&mut self, id: u32, fields: &mut Fields<'_>) -> Result<Answer, Refusal> {
        let file: &File = self.handles.file(fields.string()?)?;
        let offset = fields.u64()?;
        let most = (fields.u32()? as usize).min(READ_MAX);
        let mut data = vec![0; most];
        let mut length = 0;
        while length < most {
            match file.read_at(&mut data[length..], offset + length as u64) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if length == 0 && most > 0 {
            return Err(Refusal::EndOfFile);
        }
        data.truncate(length);
        Ok(Answer::data(id, &data))
    }
}

fn done(id: u32, result: io::Result<()>) -> Result<Answer, Refusal> {
    result?;
    Ok(Answer::ok(id))
}

/// The path without links and dots, or as near as can be for what is not there.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    if let Ok(found) = fs::canonicalize(path) {
        return Ok(found);
    }
    let mut whole = PathBuf::new();
    for part in std::env::current_dir()?.join(path).components() {
        match part {
            std::path::Component::ParentDir => {
                whole.pop();
            }
            std::path::Component::CurDir => {}
            part => whole.push(part),
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests;
