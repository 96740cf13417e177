//! Replays: an app answers that another machine shall answer instead, and the edge may remember that.
//!
//! How an order reads and what it may ask for are rules of [`mayfly_routing`]; here they meet the heads of answers,
//! the table of apps and the memory that all cores share.

mod cache;
mod order;

pub(crate) use cache::{CacheStatus, Lookup, Remembered, ReplayCache, Request};
pub(crate) use order::order;
