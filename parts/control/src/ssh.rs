//! Who may enter machines: an authority per organization, the certificates it issues, and the log of both.

mod authority;
mod certificates;
mod log;

pub(crate) use certificates::issue;
pub(crate) use log::log;
