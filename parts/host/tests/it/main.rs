//! The supervisor through its public surface, over the fake driver, a real journal and a real image store.
#![allow(clippy::unwrap_used)] // in helpers of the tests

mod faults;
mod life;
mod logs;
mod volumes;
mod world;
