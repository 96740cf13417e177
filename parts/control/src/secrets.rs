//! Secrets of apps: sealed when they arrive, opened only to be handed to the host that boots a machine.

mod api;
mod handed;

pub(crate) use api::{change, list, remove, set_one, show};
pub(crate) use handed::SecretsWish;
