//! What is stored so that a copy of the store alone does not reveal it.
//!
//! A [`Sealer`] encrypts with a key that lies in a file beside the database. It also makes fingerprints, by which
//! equal values are recognised without being readable.

mod private_file;
mod sealer;

pub use private_file::write_private;
pub use sealer::{SealError, Sealer};
