//! One small layer over SQLite and PostgreSQL, with one set of statements for both.
//!
//! A [`Db`] has one writer and a few readers, each a thread with a connection of its own. A transaction is a plain
//! closure that is sent to the writer: it cannot wait for anything but the disk, it runs to its end whatever becomes
//! of the caller, and transactions that queue up meanwhile share one commit. When [`Db::write`] returns, the change
//! survives power loss.
//!
//! Statements use `$1` placeholders and the types `BIGINT`, `TEXT` and `BYTEA`, which mean the same on both engines.
//! Truth values are 0 and 1. Writers never overlap: SQLite has one writer by nature, and on PostgreSQL every
//! transaction first takes one lock, so "highest number plus one" is a sequence without gaps and nothing is retried.
//!
//! Nothing of sqlx is visible outside this crate.

mod connection;
mod db;
mod error;
mod migration;
mod row;
mod session;
mod url;
mod value;
mod worker;

pub use db::Db;
pub use error::DbError;
pub use migration::Migration;
pub use row::{FromColumn, Row};
pub use session::{Reader, Tx};
pub use value::Value;
