use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use mayfly_types::ErrorKind;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, Executor, Postgres, Sqlite};

use crate::row::{self, Row};
use crate::url::Target;
use crate::{DbError, Value};

/// Prepared statements kept per connection: more than the stores have.
const STATEMENTS_KEPT: usize = 512;

/// Rows that SQLite's thread may be ahead of their reader: a list then costs two switches of threads, not one per row.
const ROWS_AHEAD: usize = 1024;

/// How long a statement waits for another process that holds the file, a backup for instance.
const BUSY_PATIENCE: Duration = Duration::from_secs(10);

/// What one connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Write,
    Read,
}

/// One open connection.
pub(crate) struct Connection {
    engine: Engine,
    /// The other side is gone; only a new connection helps.
    pub(crate) broken: bool,
}

enum Engine {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connection {
    pub(crate) async fn open(target: &Target, access: Access) -> Result<Self, sqlx::Error> {
        match target {
            Target::Sqlite(path) => {
                if access == Access::Write {
                    make_private(path).map_err(sqlx::Error::Io)?;
                }
                let mut options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(false)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(BUSY_PATIENCE)
                    .foreign_keys(true)
                    .row_buffer_size(ROWS_AHEAD)
                    .statement_cache_capacity(STATEMENTS_KEPT)
                    .pragma("temp_store", "memory")
                    .disable_statement_logging();
                if access == Access::Read {
                    options = options.pragma("query_only", "on");
                }
                Ok(Engine::Sqlite(options.connect().await?).into())
            }
            Target::Postgres(options) => {
                let mut options = options
                    .as_ref()
                    .clone()
                    .application_name("mayfly")
                    .statement_cache_capacity(STATEMENTS_KEPT)
                    .disable_statement_logging();
                if access == Access::Read {
                    options = options.options([("default_transaction_read_only", "on")]);
                }
                Ok(Engine::Postgres(options.connect().await?).into())
            }
        }
    }

    /// Runs one or several statements without values.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<(), DbError> {
        let ran = match &mut self.engine {
            Engine::Sqlite(connection) => connection.execute(sqlx::raw_sql(sql)).await.map(drop),
            Engine::Postgres(connection) => connection.execute(sqlx::raw_sql(sql)).await.map(drop),
        };
        ran.map_err(|error| self.failed(sql, error))
    }

    /// Runs a statement and says how many rows it touched.
    pub(crate) async fn execute(&mut self, sql: &str, args: &[Value]) -> Result<u64, DbError> {
        let touched = match &mut self.engine {
            Engine::Sqlite(connection) => connection
                .execute(sqlite_query(sql, args))
                .await
                .map(|done| done.rows_affected()),
            Engine::Postgres(connection) => connection
                .execute(postgres_query(sql, args))
                .await
                .map(|done| done.rows_affected()),
        };
        touched.map_err(|error| self.failed(sql, error))
    }

    /// Runs a statement and returns all its rows.
    pub(crate) async fn rows(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>, DbError> {
        let rows =
            match &mut self.engine {
                Engine::Sqlite(connection) => connection
                    .fetch_all(sqlite_query(sql, args))
                    .await
                    .map(|rows| {
                        rows.into_iter()
                            .map(|row| Row(row::Engine::Sqlite(row)))
                            .collect()
                    }),
                Engine::Postgres(connection) => connection
                    .fetch_all(postgres_query(sql, args))
                    .await
                    .map(|rows| {
                        rows.into_iter()
                            .map(|row| Row(row::Engine::Postgres(row)))
                            .collect()
                    }),
            };
        rows.map_err(|error| self.failed(sql, error))
    }

    fn failed(&mut self, sql: &str, error: sqlx::Error) -> DbError {
        self.broken |= matches!(error, sqlx::Error::Protocol(_));
        let error = DbError::statement(sql, error);
        self.broken |= error.kind() == ErrorKind::Unavailable;
        error
    }

    pub(crate) async fn close(self) {
        // What a goodbye could fail at does not matter any more: everything acknowledged is on disk.
        let _ = match self.engine {
            Engine::Sqlite(connection) => connection.close().await,
            Engine::Postgres(connection) => connection.close().await,
        };
    }
}

impl From<Engine> for Connection {
    fn from(engine: Engine) -> Self {
        Connection {
            engine,
            broken: false,
        }
    }
}

/// Creates the file readable by its owner only: configurations of machines may hold secrets.
fn make_private(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

macro_rules! query {
    ($name:ident, $engine:ty, $arguments:ty) => {
        fn $name<'q>(
            sql: &'q str,
            args: &'q [Value],
        ) -> sqlx::query::Query<'q, $engine, $arguments> {
            let mut query = sqlx::query::<$engine>(sql);
            for value in args {
                query = match value {
                    Value::Int(value) => query.bind(*value),
                    Value::Text(value) => query.bind(value.as_deref()),
                    Value::Bytes(value) => query.bind(value.as_deref()),
                };
            }
            query
        }
    };
}

query!(sqlite_query, Sqlite, sqlx::sqlite::SqliteArguments<'q>);
query!(postgres_query, Postgres, sqlx::postgres::PgArguments);
