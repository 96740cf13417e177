use std::time::Duration;

/// How long to wait before the next try: doubles from `first` up to `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub most: Duration,
}

impl Backoff {
    /// The pause before try number `attempt`, where 0 is the first repetition.
    pub fn pause(&self, attempt: u32) -> Duration {
        self.first
            .saturating_mul(2u32.saturating_pow(attempt))
            .min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_and_is_capped() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            most: Duration::from_secs(60),
        };
        let pauses: Vec<u64> = [0, 1, 2, 6, 40]
            .map(|attempt| backoff.pause(attempt).as_secs())
            .to_vec();
        assert_eq!(pauses, [1, 2, 4, 60, 60]);
    }
}
