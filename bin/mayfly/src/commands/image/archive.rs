//! An image archive as a stream, whatever it comes from; nothing is held in memory or copied to disk.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::mpsc;

/// Pieces read ahead of the network.
const QUEUE_DEPTH: usize = 4;
const PIECE_BYTES: usize = 256 << 10;

type Piece = io::Result<Bytes>;

/// Where an archive comes from.
pub(super) enum Source {
    Stdin,
    File(File),
    Directory(PathBuf),
}

impl Source {
    /// `-` is standard input; a directory is packed on the way.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Source::Stdin);
        }
        let describe = || format!("open {}", path.display());
        let file = File::open(path).with_context(describe)?;
        if file.metadata().with_context(describe)?.is_dir() {
            return Ok(Source::Directory(path.to_owned()));
        }
        Ok(Source::File(file))
    }

    /// The archive's bytes. Reading happens on a thread of its own, which ends when the stream is dropped or done.
    pub(super) fn stream(self) -> impl Stream<Item = Piece> + Send + 'static {
        let (sender, receiver) = mpsc::channel(QUEUE_DEPTH);
        std::thread::spawn(move || {
            let outcome = match self {
                Source::Stdin => copy(io::stdin().lock(), &sender),
                Source::File(file) => copy(file, &sender),
                Source::Directory(path) => pack(&path, &sender),
            };
            if let Err(error) = outcome {
                // Without a receiver the upload is over, and its own error says why.
                let _ = sender.blocking_send(Err(error));
            }
        });
        stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|piece| (piece, receiver))
        })
    }
}

fn copy(mut from: impl Read, sender: &mpsc::Sender<Piece>) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => send(sender, &buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Packs an OCI layout's directory; links are stored as links, so nothing outside of it is read.
fn pack(directory: &Path, sender: &mpsc::Sender<Piece>) -> io::Result<()> {
    let pieces = io::BufWriter::with_capacity(PIECE_BYTES, Pieces(sender));
    let mut archive = tar::Builder::new(pieces);
    archive.follow_symlinks(false);
    archive.append_dir_all(".", directory)?;
    archive.into_inner()?.flush()
}

/// Writes into the queue.
struct Pieces<'a>(&'a mpsc::Sender<Piece>);

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        send(self.0, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn send(sender: &mpsc::Sender<Piece>, bytes: &[u8]) -> io::Result<()> {
    sender
        .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
        .map_err(|_| io::ErrorKind::BrokenPipe.into())
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    async fn bytes(source: Source) -> Vec<u8> {
        let mut pieces = Box::pin(source.stream());
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece.unwrap());
        }
        all
    }

    #[tokio::test(flavor = "current_thread")]
    async fn files_go_as_they_are_and_directories_as_archives() {
        let directory = tempfile::tempdir().unwrap();
        let layout = directory.path().join("layout");
        std::fs::create_dir_all(layout.join("blobs")).unwrap();
        let large = vec![7; 3 * PIECE_BYTES + 1];
        std::fs::write(layout.join("blobs/one"), &large).unwrap();
        let packed = bytes(Source::open(&layout).unwrap()).await;
        let archive = directory.path().join("layout.tar");
        std::fs::write(&archive, &packed).unwrap();
        assert_eq!(bytes(Source::open(&archive).unwrap()).await, packed);
        let unpacked = directory.path().join("unpacked");
        tar::Archive::new(packed.as_slice())
            .unpack(&unpacked)
            .unwrap();
        assert_eq!(std::fs::read(unpacked.join("blobs/one")).unwrap(), large);
    }
}
