//! The rules by which requests find machines, decided without a runtime, a clock or a socket.
//!
//! [`choose`] says where a request goes and which machine is woken for it, [`surplus`] which machine may rest,
//! [`round_trip`] how far regions are from each other. Whoever calls them holds the counters and performs the effects.

mod choose;
mod place;
mod surplus;

pub use choose::{Asleep, Candidate, Choice, Out, Standing, Waiting, choose};
pub use place::{NEAREST, UNKNOWN, round_trip};
pub use surplus::{Resting, Running, surplus};
