//! What the conformance tests share: a cloud with one app and the image of `examples/hello`, spoken to as any client
//! does. The tests are in `tests/it`.

mod image;
mod pebble;
mod stage;

pub use image::hello_archive;
pub use pebble::Pebble;
pub use stage::{Exec, Stage, is_alive};
