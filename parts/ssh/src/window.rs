use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// How much more the client will take on a channel.
#[derive(Debug, Default)]
pub(crate) struct SendWindow {
    open: Mutex<u64>,
    more: Notify,
}

impl SendWindow {
    pub(crate) fn new(open: u32) -> Self {
        SendWindow {
            open: Mutex::new(open.into()),
            more: Notify::new(),
        }
    }

    pub(crate) fn add(&self, bytes: u32) {
        *self.open.lock().expect("no holder of this lock panics") += u64::from(bytes);
        self.more.notify_one();
    }

    /// At least one and at most `most` bytes; waits while there is nothing. One task of a channel sends.
    pub(crate) async fn take(&self, most: usize) -> usize {
        loop {
            {
                let mut open = self.open.lock().expect("no holder of this lock panics");
                let taken = (*open).min(most as u64);
                if taken > 0 {
                    *open -= taken;
                    return usize::try_from(taken).expect("no more than was asked for");
                }
            }
            self.more.notified().await;
        }
    }
}

/// How much more the client may send on a channel.
#[derive(Debug)]
pub(crate) struct ReceiveWindow(AtomicU32);

impl ReceiveWindow {
    /// Bytes the client may send before anything was taken: what is waiting in our memory per channel at most.
    pub(crate) const SIZE: u32 = 1 << 20;
    /// The client is told of more only when it is worth a packet.
    pub(crate) const STEP: u32 = Self::SIZE / 4;

    pub(crate) fn new() -> Self {
        ReceiveWindow(AtomicU32::new(Self::SIZE))
    }

    /// False if the client sent more than it may.
    pub(crate) fn spend(&self, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let spend = |open: u32| open.checked_sub(bytes);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
            .is_ok()
    }

    pub(crate) fn widen(&self, bytes: u32) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_is_sent_than_was_allowed() {
        let window = SendWindow::new(10);
        assert_eq!(window.take(4).await, 4);
        assert_eq!(window.take(40).await, 6);
        let waiting = window.take(5);
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("nothing is allowed"),
            () = std::future::ready(()) => {}
        }
        window.add(3);
        assert_eq!(waiting.await, 3);
    }

    #[test]
    fn no_more_is_accepted_than_was_granted() {
        let window = ReceiveWindow::new();
        assert!(window.spend(ReceiveWindow::SIZE as usize));
        assert!(!window.spend(1));
        window.widen(2);
        assert!(window.spend(2));
    }
}
