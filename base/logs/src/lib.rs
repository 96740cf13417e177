//! The log of one machine: an append-only directory of segments that several processes write and read.
//!
//! A directory holds segments named after the sequence number of their first line (`00000000000000000001.jsonl`) and a
//! `lock` file. Each line is one [`Record`] as JSON; line *k* of a segment has the sequence number *first + k*, so a
//! reader finds its place by counting line ends. [`LogWriter`] appends under an exclusive lock on `lock`: numbers are
//! unique and without gaps however many writers there are (the machine's monitor and the host daemon, usually), and the
//! next append cuts off what a killed writer left half written. [`LogReader`] takes no lock and never sees half a line.
//!
//! A line counts as acknowledged when `append` has returned; it then survives the death of any process. A power cut may
//! take lines that [`LogWriter::sync`] did not cover, the last ones first. The oldest segments are dropped when the
//! directory outgrows its limit, which readers see as a gap in the numbers.
//!
//! This crate blocks on the disk and knows no runtime, no clock and no machine.

mod error;
mod limits;
mod reader;
mod record;
mod segment;
mod writer;

pub use error::LogError;
pub use limits::LogLimits;
pub use reader::{LogCursor, LogReader};
pub use record::{Line, Record, Source};
pub use writer::LogWriter;

#[cfg(test)]
mod tests;
