//! HTTP/2: from clients (by ALPN or prior knowledge) and to machines that ask for it.
//!
//! The protocol itself is the `h2` crate's. Here is what a proxy adds: requests and answers in the one form the rest
//! of the edge reads (`head`), bodies as frames under back-pressure (`frames`, `outlet`), the client's connection
//! (`connection`, `exchange`) with limits and thrift the crate does not have (`meter`, `gather`), and multiplexed
//! connections to machines (`links`, `machine`).

mod connection;
mod crew;
mod exchange;
mod frames;
mod gather;
mod head;
mod links;
mod machine;
mod meter;
mod outlet;
mod websocket;

pub(crate) use connection::serve;
pub(crate) use links::{Links, Place};
pub(crate) use machine::stream as machine_stream;
pub(crate) use websocket::is_handshake;
