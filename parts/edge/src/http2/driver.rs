//! Reads and writes a client's connection, and lets those run that serve its streams.

use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll};

use super::crew::Crew;
use super::frame::{FrameHead, HEAD, PREFACE, Reason};
use super::inlet::Taken;
use super::session::{Session, Shared, lock};
use crate::http::{Channel, Reader};
use crate::transport::ClientStream;

/// How often a turn looks for more to do; others on the core have a turn then.
const ROUNDS_MAX: u32 = 32;

pub(super) struct Driver<'a, S: ClientStream> {
    reader: Reader<S::Read>,
    writer: S::Write,
    session: &'a Shared,
    /// The preface has come.
    greeted: bool,
    seen: Seen,
}

/// What the last turn that said so has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    settled: bool,
    last_id: u32,
    idle: bool,
}

/// What has become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Requests are being served.
    Busy,
    /// None is, and the client has just said something.
    Idle,
    /// The client is gone.
    Left,
    /// Goodbyes were said and there is nothing left to do.
    Ended,
    /// It has to be ended.
    Wrong(Reason),
}

impl<'a, S: ClientStream> Driver<'a, S> {
    pub(super) fn new(client: Channel<S>, session: &'a Shared) -> Driver<'a, S> {
        let Channel { reader, writer } = client;
        Driver {
            reader,
            writer,
            session,
            greeted: false,
            seen: Seen {
                settled: false,
                last_id: 0,
                idle: true,
            },
        }
    }

    pub(super) fn into_halves(self) -> (Reader<S::Read>, S::Write) {
        (self.reader, self.writer)
    }

    /// Gives memory back; for a connection that waits.
    pub(super) fn rest(&mut self) {
        lock(self.session).rest();
    }

    /// Does what there is to do. Streams first, then what the client has sent; what they have ready leaves in one write.
    pub(super) fn poll_turn<'c, F>(
        &mut self,
        cx: &mut Context<'_>,
        crew: &mut Crew<'c>,
        hire: &impl Fn(usize) -> F,
        key: &dyn Fn() -> String,
    ) -> Poll<Turn>
    where
        F: Future<Output = Infallible> + Send + 'c,
    {
        crew.attend(cx);
        for _ in 0..ROUNDS_MAX {
            crew.run();
            let mut session = lock(self.session);
            let taken = take_frames(&mut self.reader, &mut self.greeted, &mut session, key);
            if let Err(reason) = taken {
                return Poll::Ready(Turn::Wrong(reason));
            }
            if session.is_burden() {
                return Poll::Ready(Turn::Wrong(Reason::ENHANCE_YOUR_CALM));
            }
            while crew.len() < session.streams.len() {
                crew.hire(hire(crew.len()));
            }
            let is_full = session.outbox.is_full();
            if !is_full {
                if crew.is_called() {
                    continue;
                }
                match self.reader.poll_fill(cx) {
                    Poll::Ready(Ok(1..)) => continue,
                    Poll::Ready(_) => return Poll::Ready(Turn::Left),
                    Poll::Pending => {}
                }
            }
            if let Poll::Ready(Err(_)) = session.outbox.poll_drain(cx, &mut self.writer) {
                // There is nobody to say it to.
                return Poll::Ready(Turn::Left);
            }
            session.call_waiting();
            if crew.is_called() || (is_full && !session.outbox.is_full()) {
                continue;
            }
            return self.seen.news(&session).map_or(Poll::Pending, Poll::Ready);
        }
        cx.waker().wake_by_ref();
        match self.poll_drain(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(Turn::Left),
            _ => Poll::Pending,
        }
    }

    /// Ready once everything has left, or cannot.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(self.session).outbox.poll_drain(cx, &mut self.writer)
    }
}

impl Seen {
    fn news(&mut self, session: &Session) -> Option<Turn> {
        let now = Seen {
            settled: session.settled,
            last_id: session.last_id,
            idle: session.is_idle(),
        };
        if session.has_ended() {
            Some(Turn::Ended)
        } else if std::mem::replace(self, now) == now {
            None
        } else if now.idle {
            Some(Turn::Idle)
        } else {
            Some(Turn::Busy)
        }
    }
}

/// Takes the frames that are there as a whole, as long as there is room for what they are answered with.
fn take_frames<R>(
    reader: &mut Reader<R>,
    greeted: &mut bool,
    session: &mut Session,
    key: &dyn Fn() -> String,
) -> Result<(), Reason> {
    if !*greeted {
        let unread = reader.unread();
        let known = unread.len().min(PREFACE.len());
        if unread[..known] != PREFACE[..known] {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if known < PREFACE.len() {
            return Ok(());
        }
        reader.consume(PREFACE.len());
        *greeted = true;
    }
    while !session.outbox.is_full()
        && let Some((head, payload)) = FrameHead::split(reader.unread())?
    {
        match session.take_frame(head, payload, key)? {
            Taken::Yes => reader.consume(HEAD + head.length),
            Taken::NotYet => break,
        }
    }
    Ok(())
}
