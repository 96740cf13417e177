//! The layer over a real SQLite file: transactions, migrations, errors.
#![allow(clippy::unwrap_used)] // in helpers of the tests

mod sqlite;
