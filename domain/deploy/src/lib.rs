//! How a release takes the place of the one before it.
//!
//! [`next`] looks at an app's machines as they are and says what is to be done now: it keeps no plan, so a deployment
//! goes on after a crash by looking again. [`readiness`] says whether a machine that has the release may count as up.
//! Who makes machines, what is in them and where the release is recorded is not known here.

mod advice;
mod autoscale;
mod next;
mod readiness;
mod scale;
mod strategy;

#[cfg(test)]
mod tests;

pub use advice::{Advice, Measured, Verdict, advise};
pub use autoscale::{Bounds, FULL, Load, Pace, Resize, Scaled, Scope, Since, Standing, autoscale};
pub use next::{Group, Member, Stage, Step, Turn, next};
pub use readiness::{CheckNow, Readiness, Seen, readiness};
pub use scale::{Counted, Target, TooFewRegions, scale, spread};
pub use strategy::{InvalidUnavailable, Rules, Strategy, Unavailable, UnknownStrategy};
