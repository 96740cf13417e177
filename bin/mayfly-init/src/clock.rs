//! Wall time for records, monotonic time for waiting. The two processes are the rim: there is nobody to hand it in.

use std::time::Duration;

use mayfly_types::Timestamp;
use rustix::event::Timespec;
use rustix::time::{ClockId, clock_gettime};

pub(crate) fn now() -> Timestamp {
    let time = clock_gettime(ClockId::Realtime);
    Timestamp::from_millis(time.tv_sec * 1000 + time.tv_nsec / 1_000_000)
}

/// A moment of monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl Moment {
    pub(crate) fn now() -> Moment {
        let time = clock_gettime(ClockId::Monotonic);
        Moment(Duration::new(
            time.tv_sec.unsigned_abs(),
            u32::try_from(time.tv_nsec).unwrap_or_default(),
        ))
    }

    pub(crate) fn after(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(span))
    }

    /// The longest wait that does not miss this moment, as `poll` takes it; rounded up, so that it has come afterwards.
    pub(crate) fn wait(self) -> Timespec {
        let left = self.0.saturating_sub(Moment::now().0) + Duration::from_micros(100);
        Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        }
    }
}
