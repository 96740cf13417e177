//! What a client sends that costs work and asks for nothing: pings, settings, priorities, empty frames.
//!
//! The protocol's implementation bounds the memory such a flood takes, not the work. Frames are counted as they are
//! read, by their headers alone; a client that sends many of them and hardly anything else is told to calm down
//! (RFC 9113 section 10.5).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The client's preface, in bytes (RFC 9113, 3.4).
const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
/// Frames without use that nobody minds.
const FREE: u32 = 1_000;
/// How often the count starts anew.
const WINDOW: Duration = Duration::from_secs(10);
/// Frames without use per frame of use, above [`FREE`]. Estimators of bandwidth send a ping per read.
const PER_USEFUL: u32 = 4;
/// Bytes sent that pay for as much as one useful frame.
const USEFUL_BYTES: u32 = 1024;

/// A client's stream whose frames are counted. What was read before, to find out the protocol, comes first.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: S,
    already_read: Bytes,
    walk: Walk,
    tally: Tally,
    flood: Arc<AtomicBool>,
}

/// Says whether the counted stream carries a flood.
#[derive(Clone, Debug)]
pub(super) struct FloodGauge(Arc<AtomicBool>);

impl FloodGauge {
    pub(super) fn is_flood(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, already_read: Bytes) -> (Self, FloodGauge) {
        let flood = Arc::new(AtomicBool::new(false));
        let metered = Metered {
            stream,
            already_read,
            walk: Walk::new(),
            tally: Tally::new(),
            flood: Arc::clone(&flood),
        };
        (metered, FloodGauge(flood))
    }

    fn count(&mut self, from: usize, read: &[u8]) {
        let tally = &mut self.tally;
        self.walk.over(&read[from..], |frame| tally.add(frame));
        if tally.useless > FREE && tally.is_flood(Instant::now()) {
            self.flood.store(true, Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.flood.load(Ordering::Relaxed) {
            // Nothing more is worked on: whoever holds the gauge decides.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = out.filled().len();
        if this.already_read.has_remaining() {
            let count = this.already_read.len().min(out.remaining());
            out.put_slice(&this.already_read.split_to(count));
        } else {
            std::task::ready!(Pin::new(&mut this.stream).poll_read(cx, out))?;
        }
        this.count(before, out.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.tally.sent(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.tally.sent(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameHead {
    length: usize,
    kind: u8,
    flags: u8,
}

impl FrameHead {
    /// Whether the frame brings a request or a part of one.
    fn is_useful(self) -> bool {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const END_STREAM: u8 = 1;
        self.kind == HEADERS
            || (self.kind == DATA && (self.length > 0 || self.flags & END_STREAM != 0))
    }

    /// Acknowledgements of ours, windows and resets: they answer what we did. Resets are judged by what they end.
    fn is_reply(self) -> bool {
        const RESET: u8 = 3;
        const SETTINGS: u8 = 4;
        const PING: u8 = 6;
        const WINDOW_UPDATE: u8 = 8;
        const ACK: u8 = 1;
        matches!(self.kind, RESET | WINDOW_UPDATE)
            || (matches!(self.kind, SETTINGS | PING) && self.flags & ACK != 0)
    }
}

/// Finds the heads of frames in a stream that arrives in any pieces.
#[derive(Debug)]
struct Walk {
    /// Bytes of preface or payload to pass over.
    skip: usize,
    head: [u8; FRAME_HEAD],
    have: usize,
}

impl Walk {
    fn new() -> Self {
        Walk {
            skip: PREFACE,
            head: [0; FRAME_HEAD],
            have: 0,
        }
    }

    fn over(&mut self, mut bytes: &[u8], mut found: impl FnMut(FrameHead)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (FRAME_HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == FRAME_HEAD {
                let [high, middle, low, kind, flags, ..] = self.head;
                let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                found(FrameHead {
                    length,
                    kind,
                    flags,
                });
                self.skip = length;
                self.have = 0;
            }
        }
    }
}

#[derive(Debug)]
struct Tally {
    since: Instant,
    useful: u32,
    useless: u32,
    sent: u32,
}

impl Tally {
    fn new() -> Self {
        Tally {
            since: Instant::now(),
            useful: 0,
            useless: 0,
            sent: 0,
        }
    }

    fn add(&mut self, frame: FrameHead) {
        if frame.is_useful() {
            self.useful = self.useful.saturating_add(1);
        } else if !frame.is_reply() {
            self.useless = self.useless.saturating_add(1);
        }
    }

    fn sent(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = written {
            self.sent = self
                .sent
                .saturating_add(u32::try_from(*count).unwrap_or(u32::MAX));
        }
    }

    fn is_flood(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) > WINDOW {
            *self = Tally {
                since: now,
                useful: 0,
                useless: 0,
                sent: 0,
            };
            return false;
        }
        // Answering a ping sends 17 bytes, which shall not pay for the next.
        let for_them = self.useless.saturating_mul(17);
        let paid = self
            .useful
            .saturating_add(self.sent.saturating_sub(for_them) / USEFUL_BYTES);
        self.useless - FREE.min(self.useless) > paid.saturating_mul(PER_USEFUL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const HEADERS: [u8; 10] = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x82];
    const EMPTY_DATA: [u8; 9] = [0, 0, 0, 0, 0, 0, 0, 0, 1];
    const SETTINGS_ACK: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];

    fn heads(bytes: &[u8], step: usize) -> Vec<FrameHead> {
        let (mut walk, mut found) = (Walk::new(), Vec::new());
        for piece in bytes.chunks(step) {
            walk.over(piece, |frame| found.push(frame));
        }
        found
    }

    #[test]
    fn frames_are_found_in_any_pieces() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for frame in [&PING[..], &HEADERS, &EMPTY_DATA, &SETTINGS_ACK, &PING] {
            bytes.extend_from_slice(frame);
        }
        for step in 1..bytes.len() {
            let found = heads(&bytes, step);
            let kinds: Vec<_> = found
                .iter()
                .map(|frame| (frame.kind, frame.length))
                .collect();
            assert_eq!(
                kinds,
                [(6, 8), (1, 1), (0, 0), (4, 0), (6, 8)],
                "step {step}"
            );
            let useful: Vec<_> = found.iter().map(|frame| frame.is_useful()).collect();
            assert_eq!(useful, [false, true, false, false, false]);
            assert!(found[3].is_reply() && !found[0].is_reply());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_many_frames_that_nothing_pays_for() {
        let frame = |bytes: &[u8]| heads(&[&[0; PREFACE][..], bytes].concat(), 64)[0];
        for (useless, requests, sent, flood) in [
            (FREE, 0, 0, false),
            (FREE + 10, 0, 0, true),
            (FREE + 10, 3, 0, false),
            (FREE + 10, 0, 17 * (FREE as usize + 10), true),
            (FREE + 10, 0, 1 << 20, false),
            (20 * FREE, 100, 0, true),
        ] {
            let mut tally = Tally::new();
            (0..useless).for_each(|_| tally.add(frame(&PING)));
            (0..requests).for_each(|_| tally.add(frame(&HEADERS)));
            tally.sent(&Poll::Ready(Ok(sent)));
            assert_eq!(
                tally.is_flood(Instant::now()),
                flood,
                "{useless} {requests} {sent}"
            );
        }
        let mut tally = Tally::new();
        (0..FREE + 10).for_each(|_| tally.add(frame(&EMPTY_DATA)));
        tokio::time::advance(WINDOW * 2).await;
        assert!(!tally.is_flood(Instant::now()), "slow is no flood");
    }
}
