//! What a client sends that costs work and asks for nothing: pings, settings, priorities, empty frames; and requests that
//! it gives up, or makes us give up, as soon as they are made.
//!
//! A client that does hardly anything else is told to calm down (RFC 9113 section 10.5).

use std::time::Duration;

use tokio::time::Instant;

use super::frame::{FrameHead, flag, kind};

/// Frames without use that nobody minds.
const FREE: u32 = 1_000;
/// How often the count starts anew.
const WINDOW: Duration = Duration::from_secs(10);
/// Frames without use per frame of use, above [`FREE`]. Estimators of bandwidth send a ping per read.
const PER_USEFUL: u32 = 4;
/// Bytes sent that pay for as much as one useful frame.
const USEFUL_BYTES: u64 = 1024;
/// A client that gave up more than half of so many requests is not browsing.
const GIVEN_UP_OF: u32 = 500;

/// Counts what frames are for.
#[derive(Debug)]
pub(super) struct Tally {
    since: Instant,
    /// Bytes that had been sent by then.
    sent_before: u64,
    useful: u32,
    useless: u32,
}

impl Tally {
    pub(super) fn new() -> Self {
        Tally {
            since: Instant::now(),
            sent_before: 0,
            useful: 0,
            useless: 0,
        }
    }

    pub(super) fn add(&mut self, frame: &FrameHead) {
        if is_useful(frame) {
            self.useful = self.useful.saturating_add(1);
        } else if !is_reply(frame) {
            self.useless = self.useless.saturating_add(1);
        }
    }

    /// Whether the client sends hardly anything but control frames; `sent` are the bytes it has been sent so far.
    pub(super) fn is_flood(&mut self, sent: u64) -> bool {
        if self.useless <= FREE {
            return false;
        }
        let now = Instant::now();
        if now.duration_since(self.since) > WINDOW {
            *self = Tally {
                since: now,
                sent_before: sent,
                useful: 0,
                useless: 0,
            };
            return false;
        }
        // Answering a ping sends 17 bytes, which shall not pay for the next.
        let for_them = u64::from(self.useless) * 17;
        let sent = (sent - self.sent_before).saturating_sub(for_them);
        let paid = u64::from(self.useful) + sent / USEFUL_BYTES;
        u64::from(self.useless - FREE) > paid.saturating_mul(PER_USEFUL.into())
    }
}

/// Whether the frame brings a request or a part of one.
fn is_useful(frame: &FrameHead) -> bool {
    frame.kind == kind::HEADERS
        || (frame.kind == kind::DATA && (frame.length > 0 || frame.has(flag::END_STREAM)))
}

/// Acknowledgements of ours, windows and resets: they answer what we did. Resets are judged by what they end.
fn is_reply(frame: &FrameHead) -> bool {
    matches!(frame.kind, kind::RST_STREAM | kind::WINDOW_UPDATE)
        || (matches!(frame.kind, kind::SETTINGS | kind::PING) && frame.has(flag::ACK))
}

/// What became of a connection's requests.
#[derive(Debug, Default)]
pub(super) struct Fate {
    all: u32,
    given_up: u32,
}

impl Fate {
    /// Whether the client only makes work (rapid reset). Counts fade, so that an old connection is judged by what it
    /// does now.
    pub(super) fn is_abuse(&mut self, gave_up: bool) -> bool {
        self.all += 1;
        self.given_up += u32::from(gave_up);
        if self.all < GIVEN_UP_OF {
            return false;
        }
        let abuse = self.given_up * 2 > self.all;
        self.all /= 2;
        self.given_up /= 2;
        abuse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> FrameHead {
        FrameHead {
            length,
            kind,
            flags,
            stream: 1,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_many_frames_that_nothing_pays_for() {
        let (ping, headers) = (frame(kind::PING, 0, 8), frame(kind::HEADERS, 5, 1));
        for (useless, requests, sent, flood) in [
            (FREE, 0, 0, false),
            (FREE + 10, 0, 0, true),
            (FREE + 10, 3, 0, false),
            (FREE + 10, 0, 17 * (u64::from(FREE) + 10), true),
            (FREE + 10, 0, 1 << 20, false),
            (20 * FREE, 100, 0, true),
        ] {
            let mut tally = Tally::new();
            (0..useless).for_each(|_| tally.add(&ping));
            (0..requests).for_each(|_| tally.add(&headers));
            assert_eq!(tally.is_flood(sent), flood, "{useless} {requests} {sent}");
        }
        let mut tally = Tally::new();
        for _ in 0..FREE + 10 {
            tally.add(&frame(kind::DATA, 0, 0));
            tally.add(&frame(kind::SETTINGS, flag::ACK, 0));
        }
        tokio::time::advance(WINDOW * 2).await;
        assert!(!tally.is_flood(0), "slow is no flood");
    }

    #[test]
    fn only_who_gives_up_most_requests_is_an_abuser() {
        let judge = |every: u32| {
            let mut fate = Fate::default();
            (1..=GIVEN_UP_OF * 4).any(|request| fate.is_abuse(request % every != 0))
        };
        assert!(judge(1000), "all but a few are given up");
        assert!(judge(3));
        let mut fate = Fate::default();
        assert!(!(0..GIVEN_UP_OF * 8).any(|request| fate.is_abuse(request % 3 == 0)));
        assert!(!(0..GIVEN_UP_OF - 1).any(|_| Fate::default().is_abuse(true)));
    }
}
