/// How large a log may grow. The last segment always stays, so a log holds up to one segment more than `kept_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// A segment that has reached this size is followed by a new one.
    pub segment_bytes: u64,
    /// The oldest segments are dropped until the finished ones fit in this.
    pub kept_bytes: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        LogLimits {
            segment_bytes: 4 << 20,
            kept_bytes: 32 << 20,
        }
    }
}
