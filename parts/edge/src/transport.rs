//! How bytes reach the edge: listeners, the streams clients come on, and what is known of them before the first byte
//! of a request.

mod client;
mod door;
mod listener;

pub(crate) use client::{ClientStream, ConnInfo};
pub(crate) use door::{Door, Reach};
pub use listener::{Edge, EdgeConfig, EdgeDeps, EdgeError};
