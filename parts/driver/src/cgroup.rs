//! Control groups of machines, on whichever mixture of versions 1 and 2 the host has.
//!
//! Each controller is used where it is mounted; `mayfly/<instance>/<machine>` is made in every hierarchy that is needed
//! and in no other, since joining each costs time at every start. Freezing, killing and the count of used CPU come from
//! version 2 where it is mounted, which works without any controller there.

mod layout;
mod limits;
mod machine;
mod memory;

pub(crate) use layout::{Layout, MissingControllers};
pub(crate) use limits::Limits;
pub(crate) use machine::MachineCgroup;
