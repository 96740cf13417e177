//! Tasks that have parents, clocks and chance that tests can hold, back-off, and the state of background loops.
//!
//! Everything that runs longer than a call is spawned on a [`TaskSet`]; whoever owns the set stops and joins it.
//! Pure code never asks for the time or a random number: the rim holds a [`Clock`] and an [`Entropy`].

mod backoff;
mod clock;
mod entropy;
mod loop_status;
mod report;
mod task_set;
pub mod telemetry;

pub use backoff::Backoff;
pub use clock::{Clock, SystemClock, TestClock};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use loop_status::{LoopBoard, LoopHandle, LoopStatus};
pub use report::report;
pub use task_set::{Stop, TaskSet};
