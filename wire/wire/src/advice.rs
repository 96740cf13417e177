use serde::{Deserialize, Serialize};

/// Which size suits a process group, by what its machines used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SizeAdvice {
    pub process_group: String,
    pub machines: usize,
    /// What most of its machines have: a preset's name.
    pub size: String,
    pub memory_mb: u32,
    /// How long was looked at the machine that was looked at longest.
    pub measured_seconds: u64,
    /// How long is needed.
    pub enough_seconds: u64,
    /// The highest of the machines.
    pub memory_used_mb: UsageLevels,
    /// In thousandths of one CPU; the highest of the machines.
    pub cpu_used_millis: UsageLevels,
    /// How often its machines were ended for want of memory not long ago.
    pub oom_kills: u32,
    /// `change`, `keep`, or `wait` while too little is measured.
    pub verdict: String,
    /// The size to change to.
    pub advised: Option<AdvisedSize>,
    /// For people.
    pub reasons: Vec<String>,
    /// Machines of servers that did not answer: they are not in the numbers.
    pub unheard: usize,
}

/// The average, what was not passed for 95 % of the time, and the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UsageLevels {
    pub mean: u32,
    pub p95: u32,
    pub peak: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdvisedSize {
    pub size: String,
    pub memory_mb: u32,
}
