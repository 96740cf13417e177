//! Content in files that are called by its digest: how it comes in piece by piece, and how a file gets its place such that
//! a crash leaves the old or the new.
//!
//! Whose it is, where it comes from and when it goes is the caller's business. Everything here waits for the disk.

mod durable;
mod growing;

pub use durable::{Staging, digest_from_name, digests_in, names_in, remove, rename_durably};
pub use growing::{GrowingFile, digest_of_rest};

use mayfly_types::Digest;
use sha2::{Digest as _, Sha256};

pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}
