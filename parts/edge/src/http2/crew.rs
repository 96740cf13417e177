//! Who serves the streams of a connection, each one after another.
//!
//! What it takes to serve a stream is large and made once for many: a client that asks for sixteen things at a time has
//! sixteen members of the crew at its service until it asks for nothing for a while. They run on the connection's own
//! task. Who has something to do is a bit in one of two words, so that calling a member costs next to nothing.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::task::AtomicWaker;

/// The most members there can be.
pub(super) const MEMBERS_MAX: usize = 128;

type Member<'a> = Pin<Box<dyn Future<Output = Infallible> + Send + 'a>>;

/// Its members run while the crew is polled.
pub(super) struct Crew<'a> {
    members: Vec<(Member<'a>, Waker)>,
    calls: Arc<Calls>,
    /// Whose turn is next: nobody's calls may keep others waiting.
    next: u32,
}

/// Who has been called.
#[derive(Debug, Default)]
pub(super) struct Calls {
    words: [AtomicU64; 2],
    connection: AtomicWaker,
}

impl Calls {
    /// Lets a member run in this turn of its connection, or in the next if there is none.
    pub(super) fn call(&self, member: usize) {
        let _ = self.mark(member);
    }

    /// Calls all whose bits are set.
    pub(super) fn call_all(&self, members: u128) {
        self.words[0].fetch_or(members as u64, Ordering::AcqRel);
        self.words[1].fetch_or((members >> 64) as u64, Ordering::AcqRel);
    }

    /// Whether nobody of the member's half was called before.
    fn mark(&self, member: usize) -> bool {
        let bit = 1 << (member % 64);
        self.words[member / 64 % 2].fetch_or(bit, Ordering::AcqRel) == 0
    }

    fn take(&self) -> u128 {
        let word = |at: usize| u128::from(self.words[at].swap(0, Ordering::AcqRel));
        word(0) | word(1) << 64
    }
}

/// A member's waker.
struct Bell {
    member: usize,
    calls: Arc<Calls>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Who was called first has woken the connection, which looks for all before it rests.
        if self.calls.mark(self.member) {
            self.calls.connection.wake();
        }
    }
}

impl<'a> Crew<'a> {
    pub(super) fn new(calls: Arc<Calls>) -> Crew<'a> {
        Crew {
            members: Vec::new(),
            calls,
            next: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Adds a member, who will run when called.
    pub(super) fn hire(&mut self, member: impl Future<Output = Infallible> + Send + 'a) {
        let bell = Arc::new(Bell {
            member: self.members.len(),
            calls: Arc::clone(&self.calls),
        });
        self.members.push((Box::pin(member), Waker::from(bell)));
    }

    /// From now on calls wake this task.
    pub(super) fn attend(&self, cx: &Context<'_>) {
        self.calls.connection.register(cx.waker());
    }

    pub(super) fn is_called(&self) -> bool {
        let called = |word: &AtomicU64| word.load(Ordering::Acquire) != 0;
        self.calls.words.iter().any(called)
    }

    /// Moves those on that have been called.
    pub(super) fn run(&mut self) {
        let mut called = self.calls.take().rotate_right(self.next);
        let first = self.next;
        while called != 0 {
            let member = (called.trailing_zeros() + first) % MEMBERS_MAX as u32;
            called &= called - 1;
            self.next = (member + 1) % MEMBERS_MAX as u32;
            if let Some((future, waker)) = self.members.get_mut(member as usize) {
                // None ever ends.
                let _ = future.as_mut().poll(&mut Context::from_waker(waker));
            }
        }
    }

    /// Gives the members' memory back.
    pub(super) fn dismiss(&mut self) {
        self.members = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Mutex;
    use std::task::Poll;

    use super::*;

    #[test]
    fn who_is_called_runs_once_and_nobody_runs_first_always() {
        let order = Mutex::new(Vec::new());
        let mut crew = Crew::new(Arc::default());
        for member in 0..MEMBERS_MAX {
            let order = &order;
            crew.hire(poll_fn(move |_| {
                order.lock().unwrap().push(member);
                Poll::Pending
            }));
        }
        let ran = || std::mem::take(&mut *order.lock().unwrap());
        crew.run();
        assert_eq!(ran(), [0_usize; 0]);
        let called = [3, 70, 127];
        called.iter().for_each(|member| crew.calls.call(*member));
        crew.calls.call(70);
        assert!(crew.is_called());
        crew.run();
        assert_eq!(ran(), called);
        crew.calls.call_all(1 << 5 | 1 << 100);
        crew.run();
        assert_eq!(ran(), [5, 100]);
        called.iter().for_each(|member| crew.calls.call(*member));
        crew.run();
        assert_eq!(ran(), [127, 3, 70]);
        assert!(!crew.is_called());
        let waker = crew.members[9].1.clone();
        waker.wake();
        crew.run();
        assert_eq!(ran(), [9]);
    }
}
