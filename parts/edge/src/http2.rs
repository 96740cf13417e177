//! HTTP/2: from clients (by ALPN or prior knowledge) and to machines that ask for it.
//!
//! A client's connection is ours down to the frames. Pure: fields (`hpack`), frames (`frame`), what those that come change
//! (`inlet`) in the state of the connection (`session`, `stream`, `closed`), what makes a client a burden (`flood`), a
//! request from its fields (`request`). At the rim: `driver` reads and writes, `crew` serves the streams, each as an
//! `exchange`, on the connection's own task (`connection`).
//!
//! To machines the protocol is the `h2` crate's: multiplexed connections (`links`), requests on them (`machine`) and
//! bodies under back-pressure (`frames`, `outlet`).

mod chunk;
mod closed;
mod connection;
mod crew;
mod driver;
mod exchange;
mod flood;
mod frame;
mod frames;
mod hpack;
mod inlet;
mod links;
mod machine;
mod outbox;
mod outlet;
mod request;
mod session;
mod stream;
mod trailers;
mod websocket;

pub(crate) use connection::serve;
pub(crate) use links::{Links, Place};
pub(crate) use machine::stream as machine_stream;
pub(crate) use websocket::is_handshake;
