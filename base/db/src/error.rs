use mayfly_types::ErrorKind;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("open database {url}")]
    Open {
        /// Without its password.
        url: String,
        #[source]
        source: Cause,
    },
    #[error(
        "`{0}` is not a database address: expected sqlite:///path or postgres://user@host/name"
    )]
    InvalidUrl(String),
    /// A statement failed; `kind` tells a broken rule from a broken disk.
    #[error("run statement `{statement}`")]
    Statement {
        /// Its first words.
        statement: String,
        kind: ErrorKind,
        /// A row with this key exists already.
        duplicate: bool,
        #[source]
        source: Cause,
    },
    #[error("read column {column}: {problem}")]
    Column { column: String, problem: String },
    #[error(
        "migration {version} of the database is unknown to this program, whose newest is {newest}"
    )]
    FromTheFuture { version: u32, newest: u32 },
    #[error("migration {version} ({name})")]
    Migration {
        version: u32,
        name: &'static str,
        #[source]
        source: Box<DbError>,
    },
    /// Another transaction of the same commit broke the connection; nothing of this one was kept.
    #[error("commit transaction: {0}")]
    Commit(String),
    /// Our own fault: the closure of a transaction went on after a statement had failed.
    #[error("commit transaction: one of its statements failed")]
    Spoiled,
    #[error("the database is busy: {0} calls are waiting")]
    Full(usize),
    #[error("the database is closed")]
    Closed,
}

impl DbError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            DbError::InvalidUrl(_) | DbError::FromTheFuture { .. } => ErrorKind::Invalid,
            DbError::Statement { kind, .. } => *kind,
            DbError::Column { .. } | DbError::Spoiled => ErrorKind::Internal,
            DbError::Migration { source, .. } => source.kind(),
            DbError::Open { .. } | DbError::Commit(_) | DbError::Full(_) | DbError::Closed => {
                ErrorKind::Unavailable
            }
        }
    }

    /// Whether a row with the same unique key exists already.
    pub fn is_duplicate(&self) -> bool {
        matches!(
            self,
            DbError::Statement {
                duplicate: true,
                ..
            }
        )
    }

    /// Whether the server does not answer, or not yet, as opposed to refusing who asks or what for.
    pub fn is_away(&self) -> bool {
        let (DbError::Open { source, .. } | DbError::Statement { source, .. }) = self else {
            return matches!(self, DbError::Commit(_));
        };
        let source = source.downcast_ref::<sqlx::Error>();
        source.is_some_and(|source| {
            matches!(
                kind_of(source),
                ErrorKind::Unavailable | ErrorKind::Exhausted
            )
        })
    }

    /// A stored value that does not mean what it should.
    pub fn column(column: &str, problem: String) -> Self {
        DbError::Column {
            column: column.to_owned(),
            problem,
        }
    }

    pub(crate) fn statement(sql: &str, source: sqlx::Error) -> Self {
        DbError::Statement {
            statement: first_words(sql),
            kind: kind_of(&source),
            duplicate: source
                .as_database_error()
                .is_some_and(|error| error.is_unique_violation()),
            source: Box::new(source),
        }
    }
}

fn first_words(sql: &str) -> String {
    let mut words = String::new();
    for word in sql.split_whitespace() {
        if words.len() + word.len() > 80 {
            break;
        }
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    words
}

fn kind_of(error: &sqlx::Error) -> ErrorKind {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => {
            ErrorKind::Unavailable
        }
        sqlx::Error::Database(error) => {
            if error.is_unique_violation() || error.is_foreign_key_violation() {
                return ErrorKind::Conflict;
            }
            match error.code().as_deref() {
                // SQLITE_FULL; PostgreSQL's disk_full, too_many_connections.
                Some("13" | "53100" | "53300") => ErrorKind::Exhausted,
                // SQLITE_BUSY and its relatives, SQLITE_IOERR; PostgreSQL's shutdowns.
                Some("5" | "261" | "517" | "10" | "57P01" | "57P02" | "57P03") => {
                    ErrorKind::Unavailable
                }
                _ => ErrorKind::Internal,
            }
        }
        _ => ErrorKind::Internal,
    }
}
