//! What a builder machine is made of and told: the image it runs, the order for one build, and what its output says.
//!
//! The engine is buildah, which runs the steps of a Dockerfile in chroots inside the machine, under the user namespace that
//! builder machines have. This crate starts no machine and moves no bytes; the control plane does.

mod image;
mod order;
mod output;

pub use image::{AssembleError, assemble, image_name};
pub use order::{InvalidBuild, Order, Push, REGISTRY_AT_DOOR};
pub use output::{Finding, Output};
