use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use mayfly_types::Digest;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

const READ_AT_ONCE: usize = 256 * 1024;

/// A file that content comes into piece by piece, and the digest of what is in it so far.
#[derive(Debug)]
pub struct GrowingFile {
    file: File,
    length: u64,
    hash: Sha256,
}

impl GrowingFile {
    /// Continues a file that may be read and written: what is in it counts, and is read once.
    pub fn of(mut file: File) -> io::Result<GrowingFile> {
        let mut hash = Sha256::new();
        let length = read_into(&mut file, &mut hash)?;
        Ok(GrowingFile { file, length, hash })
    }

    /// Bytes that have come.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Of what has come.
    pub fn digest(&self) -> Digest {
        Digest::from_sha256(self.hash.clone().finalize().into())
    }

    /// Takes all pieces of a queue, until its other side is gone. Before each one `check` is told how much has come.
    ///
    /// # Errors
    /// The first of `check` or of the disk. The piece counts as not come, so that length and digest stay true.
    pub fn take(
        &mut self,
        mut queue: mpsc::Receiver<Bytes>,
        mut check: impl FnMut(u64) -> io::Result<()>,
    ) -> io::Result<()> {
        while let Some(piece) = queue.blocking_recv() {
            check(self.length)?;
            self.append(&piece)?;
        }
        Ok(())
    }

    fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(piece) {
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
            return Err(error);
        }
        self.hash.update(piece);
        self.length += piece.len() as u64;
        Ok(())
    }

    /// Forgets what has come.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.length = 0;
        self.hash = Sha256::new();
        Ok(())
    }
}

/// The digest of everything that is left to read.
pub fn digest_of_rest(mut from: impl Read) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    read_into(&mut from, &mut hash)?;
    Ok(Digest::from_sha256(hash.finalize().into()))
}

/// Returns how many bytes there were.
fn read_into(from: &mut impl Read, hash: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; READ_AT_ONCE];
    let mut length = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(length),
            count => {
                hash.update(&buffer[..count]);
                length += count as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::OpenOptions;

    use super::*;
    use crate::digest_of;

    #[test]
    fn a_file_goes_on_where_it_was_and_may_begin_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("content");
        std::fs::write(&path, "what was ").unwrap();
        let open = || OpenOptions::new().read(true).write(true).open(&path);
        let mut file = GrowingFile::of(open().unwrap()).unwrap();
        assert_eq!((file.length(), file.digest()), (9, digest_of(b"what was ")));

        let pieces = |all: &[&'static str]| {
            let (sender, queue) = mpsc::channel(8);
            for piece in all {
                sender
                    .try_send(Bytes::from_static(piece.as_bytes()))
                    .unwrap();
            }
            queue
        };
        file.take(pieces(&["and ", "what comes"]), |_| Ok(()))
            .unwrap();
        let whole = b"what was and what comes";
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        assert_eq!((file.length(), file.digest()), (23, digest_of(whole)));

        let full = |length| match length {
            23 => Ok(()),
            _ => Err(io::ErrorKind::StorageFull.into()),
        };
        let error = file.take(pieces(&["!", "?"]), full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.digest(), digest_of(b"what was and what comes!"));

        file.restart().unwrap();
        file.take(pieces(&["new"]), |_| Ok(())).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(file.digest(), digest_of(b"new"));
    }
}
