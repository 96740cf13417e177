//! Runs the real binary with busybox in real namespaces. Needs root.

mod harness;
mod life;
