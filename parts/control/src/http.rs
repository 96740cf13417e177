//! What every request passes: an id, limits, bodies and queries that are refused by name.

pub(crate) mod body;
pub(crate) mod guard;
pub(crate) mod idempotency;
pub(crate) mod org_page;
pub(crate) mod query;
pub(crate) mod request_id;
