//! A bucket of an object storage that speaks S3: requests for its objects, signed with a key.
//!
//! What is asked and what an answer means is the caller's business; this crate knows paths and signatures.

mod bucket;
mod signature;

pub use bucket::{AccessKey, Bucket, NO_CONTENT};
