//! A machine's body that arrives in DATA frames, lent out in the form an HTTP/1 connection would give it.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use h2::RecvStream;

use super::links::into_io;
use super::{chunk, trailers};
use crate::http::body::{BodyError, Form, Piece};

/// Frames that are there are put together up to this: one write carries many.
const PIECE: usize = 64 * 1024;

/// Follows a stream's DATA frames to their end.
#[derive(Debug)]
pub(super) struct Frames {
    stream: Option<RecvStream>,
    /// HTTP/1 would send the body in chunks.
    chunked: bool,
    buffer: Vec<u8>,
    at: At,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Data,
    Trailers,
    End,
}

impl Frames {
    /// A body that is there already: none.
    pub(super) fn none() -> Frames {
        Frames {
            stream: None,
            chunked: false,
            buffer: Vec::new(),
            at: At::End,
            trailers: Vec::new(),
        }
    }

    pub(super) fn new(stream: RecvStream, chunked: bool) -> Frames {
        let at = if stream.is_end_stream() {
            At::End
        } else {
            At::Data
        };
        Frames {
            stream: Some(stream),
            chunked,
            at,
            ..Frames::none()
        }
    }

    /// Lines of trailers, each with its end; complete once the body is done.
    pub(super) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// From now on frames carry bytes of another protocol.
    pub(super) fn tunnel(&mut self) {
        self.chunked = false;
    }

    pub(super) fn buffered(&mut self, form: Form) -> Result<Piece<'_>, BodyError> {
        let mut nobody = Context::from_waker(Waker::noop());
        match self.poll_gather(&mut nobody, form) {
            Poll::Ready(gathered) => gathered.map(|start| self.piece(start)),
            Poll::Pending => Ok(Piece {
                data: &[],
                last: false,
            }),
        }
    }

    /// Cancelling loses nothing.
    pub(super) async fn next(&mut self, form: Form) -> Result<Piece<'_>, BodyError> {
        let start = poll_fn(|cx| self.poll_gather(cx, form)).await?;
        Ok(self.piece(start))
    }

    fn piece(&self, start: usize) -> Piece<'_> {
        Piece {
            data: &self.buffer[start..],
            last: self.at == At::End,
        }
    }

    /// Puts together what has arrived; where in the buffer it begins.
    fn poll_gather(&mut self, cx: &mut Context<'_>, form: Form) -> Poll<Result<usize, BodyError>> {
        let chunked = self.chunked && form == Form::AsIs;
        self.buffer.clear();
        self.buffer.resize(chunk::ROOM, 0);
        let ended_before = self.at == At::End;
        let mut failed = None;
        while self.at != At::End && self.buffer.len() < PIECE {
            match self.poll_frame(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    failed = Some(error);
                    break;
                }
                Poll::Pending => break,
            }
        }
        let count = self.buffer.len() - chunk::ROOM;
        match failed {
            // What came before an error is still good; the next call meets it again.
            Some(error) if count == 0 => return Poll::Ready(Err(BodyError::Read(into_io(error)))),
            _ => {}
        }
        if count == 0 && self.at != At::End {
            return Poll::Pending;
        }
        let ends = self.at == At::End && !ended_before;
        Poll::Ready(Ok(if chunked {
            chunk::enclose(&mut self.buffer, ends.then_some(&*self.trailers))
        } else {
            chunk::ROOM
        }))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let Some(stream) = &mut self.stream else {
            self.at = At::End;
            return Poll::Ready(Ok(()));
        };
        if self.at == At::Data {
            match std::task::ready!(stream.poll_data(cx)) {
                Some(data) => {
                    let data = data?;
                    self.buffer.extend_from_slice(&data);
                    stream.flow_control().release_capacity(data.len())?;
                    if stream.is_end_stream() {
                        self.at = At::End;
                    }
                }
                None => self.at = At::Trailers,
            }
        } else {
            let fields = std::task::ready!(stream.poll_trailers(cx))?;
            for (name, value) in fields.iter().flatten() {
                let name = name.as_str().as_bytes();
                if trailers::may_trail(name) {
                    trailers::push(&mut self.trailers, name, value.as_bytes());
                }
            }
            self.at = At::End;
        }
        Poll::Ready(Ok(()))
    }
}
