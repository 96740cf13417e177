//! Who serves the streams of a connection, each one after another.
//!
//! What it takes to serve a stream is large and made once for many: a client that asks for sixteen things at a time has
//! sixteen members of the crew at its service until it asks for nothing for a while.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;

/// A stream that has come.
pub(super) type Job = (Request<RecvStream>, SendResponse<Bytes>);

type Slot = Arc<Mutex<Option<Job>>>;

/// Its members run while the crew is polled.
pub(super) struct Crew<F> {
    members: FuturesUnordered<Pin<Box<F>>>,
    desk: Arc<Desk>,
    busy: usize,
}

/// What crew and members tell each other.
#[derive(Default)]
struct Desk {
    /// Members without a job.
    free: Mutex<Vec<(Slot, Waker)>>,
    /// Whether the client gave it up, for each job that has ended.
    ended: Mutex<Vec<bool>>,
}

/// Where a member gets its jobs.
pub(super) struct Seat {
    slot: Slot,
    desk: Arc<Desk>,
}

impl<F: Future<Output = Infallible>> Crew<F> {
    pub(super) fn new() -> Crew<F> {
        Crew {
            members: FuturesUnordered::new(),
            desk: Arc::default(),
            busy: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.busy == 0
    }

    /// Gives a job to a member that has none, else to a new one.
    pub(super) fn give(&mut self, job: Job, hire: impl FnOnce(Seat) -> F) {
        self.busy += 1;
        let free = lock(&self.desk.free).pop();
        match free {
            Some((slot, waker)) => {
                *lock(&slot) = Some(job);
                waker.wake();
            }
            None => self.members.push(Box::pin(hire(Seat {
                slot: Arc::new(Mutex::new(Some(job))),
                desk: Arc::clone(&self.desk),
            }))),
        }
    }

    /// Moves all jobs on; ready with each that has ended: whether its client gave it up.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        // None ever ends.
        let _ = self.members.poll_next_unpin(cx);
        match lock(&self.desk.ended).pop() {
            Some(gave_up) => {
                self.busy -= 1;
                Poll::Ready(gave_up)
            }
            None => Poll::Pending,
        }
    }

    /// Gives the members' memory back; for a connection that waits.
    pub(super) fn rest(&mut self) {
        if self.is_idle() {
            lock(&self.desk.free).clear();
            self.members = FuturesUnordered::new();
        }
    }
}

impl Seat {
    pub(super) async fn next(&self) -> Job {
        let mut is_free = false;
        poll_fn(|cx| {
            if let Some(job) = lock(&self.slot).take() {
                return Poll::Ready(job);
            }
            // What woke it may be what it did before.
            if !std::mem::replace(&mut is_free, true) {
                let me = (Arc::clone(&self.slot), cx.waker().clone());
                lock(&self.desk.free).push(me);
            }
            Poll::Pending
        })
        .await
    }

    pub(super) fn ended(&self, gave_up: bool) {
        lock(&self.desk.ended).push(gave_up);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}
