//! The layer over real databases: transactions, migrations, errors, on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used)] // in helpers of the tests

mod layer;
mod reconnect;
