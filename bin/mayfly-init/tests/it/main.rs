//! Runs the real binary with busybox in real namespaces. Needs root.

mod body;
mod containers;
mod harness;
mod isolation;
mod life;
mod memory;
mod sessions;
