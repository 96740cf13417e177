use std::fmt;
use std::time::Duration;

use mayfly_types::Timestamp;

/// So many at once, and one more each `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) burst: u32,
    pub(super) period: Duration,
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_minute = 60_000 / self.period.as_millis().max(1);
        write!(formatter, "{per_minute} per minute, {} at once", self.burst)
    }
}

/// A token bucket, kept as the time at which it will be full again (the generic cell rate algorithm).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    full_at: Timestamp,
}

/// A token was taken; so many are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) left: u32,
}

impl Bucket {
    /// Takes a token, or says how long to wait for one. A clock that was set back fills no bucket and empties none for
    /// longer than its whole span.
    pub(super) fn take(&mut self, rate: Rate, now: Timestamp) -> Result<Granted, Duration> {
        let span = rate.period * rate.burst;
        let owed = self.full_at.since(now).min(span);
        self.full_at = now + owed;
        let owed_then = owed + rate.period;
        if owed_then > span {
            return Err(owed_then - span);
        }
        self.full_at = now + owed_then;
        let left = (span - owed_then).as_millis() / rate.period.as_millis().max(1);
        Ok(Granted {
            left: u32::try_from(left).unwrap_or(u32::MAX),
        })
    }

    pub(super) fn is_full(&self, now: Timestamp) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    #[test]
    fn a_burst_and_then_one_by_one() {
        let rate = Rate {
            burst: 3,
            period: Duration::from_secs(1),
        };
        let mut bucket = Bucket::default();
        for left in [2, 1, 0] {
            assert_eq!(bucket.take(rate, at(0)), Ok(Granted { left }));
        }
        assert_eq!(bucket.take(rate, at(400)), Err(Duration::from_millis(600)));
        assert_eq!(bucket.take(rate, at(1000)), Ok(Granted { left: 0 }));
        assert_eq!(bucket.take(rate, at(4000)), Ok(Granted { left: 2 }));
        assert!(!bucket.is_full(at(4000)) && bucket.is_full(at(5000)));
        assert_eq!(rate.to_string(), "60 per minute, 3 at once");
    }

    proptest! {
        /// Within any span no more is granted than the burst and what came in meanwhile; after the wait one is told,
        /// there is a token; and a clock set back locks nobody out.
        #[test]
        fn no_more_than_the_rate(
            burst in 1u32..20,
            period in 1u64..5_000,
            steps in proptest::collection::vec(-2_000i64..3_000, 1..200),
        ) {
            let rate = Rate { burst, period: Duration::from_millis(period) };
            let mut bucket = Bucket::default();
            let (mut now, mut granted, mut passed) = (at(0), 0u64, 0u64);
            for step in steps {
                if step >= 0 {
                    now = now + Duration::from_millis(step.unsigned_abs());
                    passed += step.unsigned_abs();
                } else {
                    now = now - Duration::from_millis(step.unsigned_abs());
                    // What is owed is never more than the whole span, however far the clock went back.
                    passed += step.unsigned_abs();
                }
                match bucket.take(rate, now) {
                    Ok(_) => granted += 1,
                    Err(wait) => {
                        prop_assert!(wait <= rate.period * rate.burst);
                        let mut later = bucket;
                        prop_assert!(later.take(rate, now + wait).is_ok());
                    }
                }
                prop_assert!(granted <= u64::from(burst) + passed / period + 1);
            }
        }
    }
}
