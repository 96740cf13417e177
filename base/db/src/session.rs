use std::ops::{Deref, DerefMut};

use tokio::runtime::Runtime;

use crate::connection::Connection;
use crate::{DbError, Row, Value};

/// Asks questions. Each statement sees the newest committed state; join when two facts must agree.
pub struct Reader<'c> {
    connection: &'c mut Connection,
    /// The worker thread's own; a statement blocks that thread and nothing else.
    runtime: &'c Runtime,
    /// A statement failed, after which PostgreSQL turns a commit into a silent rollback.
    failed: bool,
}

impl<'c> Reader<'c> {
    pub(crate) fn new(connection: &'c mut Connection, runtime: &'c Runtime) -> Self {
        Reader {
            connection,
            runtime,
            failed: false,
        }
    }

    /// All rows of an answer.
    pub fn rows(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>, DbError> {
        let rows = self.runtime.block_on(self.connection.rows(sql, args));
        self.failed |= rows.is_err();
        rows
    }

    /// The first row of an answer, if there is one.
    pub fn row(&mut self, sql: &str, args: &[Value]) -> Result<Option<Row>, DbError> {
        Ok(self.rows(sql, args)?.into_iter().next())
    }
}

/// A transaction: everything it changes is kept together, or nothing if its closure returns an error.
///
/// A statement that failed spoils the transaction; ask first (`ON CONFLICT DO NOTHING`) instead of trying.
pub struct Tx<'c> {
    reader: Reader<'c>,
    after_commit: Vec<Box<dyn FnOnce() + Send>>,
}

impl<'c> Tx<'c> {
    pub(crate) fn new(reader: Reader<'c>) -> Self {
        Tx {
            reader,
            after_commit: Vec::new(),
        }
    }

    /// Runs a statement and says how many rows it changed.
    pub fn execute(&mut self, sql: &str, args: &[Value]) -> Result<u64, DbError> {
        let touched = self
            .reader
            .runtime
            .block_on(self.reader.connection.execute(sql, args));
        self.reader.failed |= touched.is_err();
        touched
    }

    /// Calls `notify` once the transaction is durable, before its caller hears of it. Not called if it fails.
    ///
    /// For waking others: it runs on the writer and must be short.
    pub fn after_commit(&mut self, notify: impl FnOnce() + Send + 'static) {
        self.after_commit.push(Box::new(notify));
    }

    pub(crate) fn run(&mut self, sql: &str) -> Result<(), DbError> {
        let ran = self
            .reader
            .runtime
            .block_on(self.reader.connection.run(sql));
        self.reader.failed |= ran.is_err();
        ran
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.reader.failed
    }

    pub(crate) fn into_notices(self) -> Vec<Box<dyn FnOnce() + Send>> {
        self.after_commit
    }
}

impl<'c> Deref for Tx<'c> {
    type Target = Reader<'c>;

    fn deref(&self) -> &Reader<'c> {
        &self.reader
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.reader
    }
}
