//! One message body on a connection, lent out piece by piece in constant memory.

use std::io;

use tokio::io::AsyncRead;

use super::channel::Reader;
use super::chunked::{ChunkScanner, Part};
use super::head::Framing;

/// Whether chunks are passed on as they came or only what they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// With the framing of HTTP/1.
    AsIs,
    /// The content alone; trailers are kept aside.
    Plain,
}

/// The next bytes of a body.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    /// Empty only in a last piece.
    pub(crate) data: &'a [u8],
    /// Nothing follows.
    pub(crate) last: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("read the body")]
    Read(#[source] io::Error),
    #[error("the chunked coding is broken")]
    Malformed,
    #[error("the connection ended inside the body")]
    Truncated,
}

/// Follows a body to its end.
#[derive(Debug)]
pub(crate) struct Body {
    framing: Framing,
    left: u64,
    scanner: ChunkScanner,
    /// Bytes of the reader that the last piece showed.
    lent: usize,
    done: bool,
    plain: Vec<u8>,
    trailers: Vec<u8>,
}

impl Body {
    pub(crate) fn new(framing: Framing) -> Body {
        Body {
            framing,
            left: match framing {
                Framing::Length(length) => length,
                _ => 0,
            },
            scanner: ChunkScanner::new(),
            lent: 0,
            done: framing == Framing::None,
            plain: Vec::new(),
            trailers: Vec::new(),
        }
    }

    /// Whether the last piece has been shown.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Lines of trailers, each with its line end; complete once the body is done.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// What has arrived already, without waiting; an empty piece that is not the last if nothing has.
    pub(crate) fn buffered<'a, R>(
        &'a mut self,
        reader: &'a mut Reader<R>,
        form: Form,
    ) -> Result<Piece<'a>, BodyError> {
        self.settle(reader);
        self.advance(reader, form)?;
        Ok(self.piece(reader, form))
    }

    /// The next piece; waits until there is one.
    ///
    /// Cancelling loses nothing.
    pub(crate) async fn next<'a, R: AsyncRead + Unpin>(
        &'a mut self,
        reader: &'a mut Reader<R>,
        form: Form,
    ) -> Result<Piece<'a>, BodyError> {
        self.settle(reader);
        loop {
            self.advance(reader, form)?;
            let empty = match form {
                Form::AsIs => self.lent == 0,
                Form::Plain => self.plain_of(reader).is_empty(),
            };
            if self.done || !empty {
                return Ok(self.piece(reader, form));
            }
            // Framing alone was read: it is used up.
            self.settle(reader);
            if reader.fill().await.map_err(BodyError::Read)? == 0 {
                if self.framing != Framing::UntilClose {
                    return Err(BodyError::Truncated);
                }
                self.done = true;
            }
        }
    }

    /// Uses up what the last piece showed.
    pub(crate) fn settle<R>(&mut self, reader: &mut Reader<R>) {
        reader.consume(std::mem::take(&mut self.lent));
        self.plain.clear();
    }

    fn advance<R>(&mut self, reader: &Reader<R>, form: Form) -> Result<(), BodyError> {
        if self.done {
            return Ok(());
        }
        let unread = reader.unread();
        match self.framing {
            Framing::None => self.done = true,
            Framing::Length(_) => {
                self.lent = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(unread.len());
                self.left -= self.lent as u64;
                self.done = self.left == 0;
            }
            Framing::UntilClose => self.lent = unread.len(),
            Framing::Chunked => {
                let (plain, trailers) = (&mut self.plain, &mut self.trailers);
                if form == Form::Plain {
                    plain.reserve(unread.len());
                }
                let scanned = self
                    .scanner
                    .scan(unread, |part| match part {
                        Part::Data(data) if form == Form::Plain => plain.extend_from_slice(data),
                        Part::Data(_) => {}
                        Part::Trailers(bytes) => trailers.extend_from_slice(bytes),
                    })
                    .map_err(|_| BodyError::Malformed)?;
                self.lent = scanned.used;
                self.done = scanned.done;
            }
        }
        Ok(())
    }

    fn plain_of<'a, R>(&'a self, reader: &'a Reader<R>) -> &'a [u8] {
        if self.framing == Framing::Chunked {
            &self.plain
        } else {
            &reader.unread()[..self.lent]
        }
    }

    fn piece<'a, R>(&'a self, reader: &'a Reader<R>, form: Form) -> Piece<'a> {
        let data = match form {
            Form::AsIs => &reader.unread()[..self.lent],
            Form::Plain => self.plain_of(reader),
        };
        Piece {
            data,
            last: self.done,
        }
    }
}
