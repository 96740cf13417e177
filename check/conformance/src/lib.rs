//! What the conformance tests share: a cloud with one app and the image of `examples/hello`, spoken to as any client
//! does. The tests are in `tests/it`.

mod clients;
mod image;
mod network;
mod pebble;
mod peers;
mod stage;
mod storage;
mod websocket;

pub use clients::Clients;
pub use image::{echo_archive, hello_archive, tool};
pub use network::inside;
pub use pebble::Pebble;
pub use peers::netprobe;
pub use stage::{Exec, Stage, is_alive, write_probe_archive};
pub use storage::Storage;
pub use websocket::WebSocket;
