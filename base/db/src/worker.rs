//! The threads behind a [`Db`](crate::Db): one writer that gathers waiting transactions into one commit, and readers.

use std::io::ErrorKind;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::connection::{Access, Connection};
use crate::session::{Reader, Tx};
use crate::url::Target;
use crate::{DbError, Value};

/// The most transactions that share one commit: enough to spread a disk flush thinly, few enough that the first of
/// them does not wait long for the last.
const BATCH_MAX: usize = 64;

/// How long a server may take to let us in.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// Serializes the writers of all processes on one PostgreSQL database; the number is ours alone ("mayfly", shortened).
const LOCK_WRITERS: &str = "SELECT pg_advisory_xact_lock(7022349)";

/// What became of a transaction's closure.
pub(crate) enum Verdict {
    Keep,
    Undo,
}

/// A transaction on its way to the writer.
pub(crate) trait WriteJob: Send {
    /// Runs the closure. Its answer is kept until [`WriteJob::answer`].
    fn run(&mut self, tx: &mut Tx<'_>) -> Verdict;

    /// Tells the caller: what the closure said, or that the commit failed.
    fn answer(self: Box<Self>, committed: Result<(), DbError>);
}

/// A question on its way to a reader: given the connection, or why there is none.
pub(crate) type ReadJob = Box<dyn FnOnce(Result<Reader<'_>, DbError>) + Send>;

/// A connection that is opened again after it broke.
pub(crate) struct Link {
    target: Target,
    shown: String,
    access: Access,
    runtime: Runtime,
    connection: Option<Connection>,
}

impl Link {
    /// Opens the first connection, so that a wrong address is known at once.
    pub(crate) fn open(target: Target, shown: String, access: Access) -> Result<Link, DbError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| DbError::Open {
                url: shown.clone(),
                source: Box::new(error),
            })?;
        let mut link = Link {
            target,
            shown,
            access,
            runtime,
            connection: None,
        };
        link.connect()?;
        Ok(link)
    }

    fn connect(&mut self) -> Result<(), DbError> {
        if self.connection.is_none() {
            let opening = Connection::open(&self.target, self.access);
            let opened = self.runtime.block_on(async {
                let late = |_| sqlx::Error::Io(ErrorKind::TimedOut.into());
                tokio::time::timeout(OPEN_PATIENCE, opening)
                    .await
                    .map_err(late)
                    .flatten()
            });
            self.connection = Some(opened.map_err(|error| DbError::Open {
                url: self.shown.clone(),
                source: Box::new(error),
            })?);
        }
        Ok(())
    }

    fn reader(&mut self) -> Result<Reader<'_>, DbError> {
        self.connect()?;
        let connection = self
            .connection
            .as_mut()
            .expect("connect leaves a connection or fails");
        Ok(Reader::new(connection, &self.runtime))
    }

    /// A session for a transaction or a question that has begun.
    fn session(&mut self) -> Tx<'_> {
        let connection = self
            .connection
            .as_mut()
            .expect("a transaction has begun on the connection");
        Tx::new(Reader::new(connection, &self.runtime))
    }

    /// Starts a transaction, on a new connection if the old one turns out to be broken.
    fn begin(&mut self) -> Result<(), DbError> {
        match self.try_begin() {
            Ok(()) => Ok(()),
            Err(_) => {
                self.connection = None;
                self.try_begin()
            }
        }
    }

    fn try_begin(&mut self) -> Result<(), DbError> {
        self.connect()?;
        match self.target {
            Target::Sqlite(_) => self.session().execute("BEGIN IMMEDIATE", &[]).map(drop),
            Target::Postgres(_) => {
                self.session().run("BEGIN")?;
                self.session().rows(LOCK_WRITERS, NOTHING).map(drop)
            }
        }
    }

    fn statement(&mut self, sql: &str) -> Result<(), DbError> {
        self.session().execute(sql, NOTHING).map(drop)
    }

    /// Forgets a connection that no longer answers, so that the next use opens another.
    fn drop_if_broken(&mut self) {
        if self
            .connection
            .as_ref()
            .is_some_and(|connection| connection.broken)
        {
            self.connection = None;
        }
    }

    fn close(self) {
        if let Some(connection) = self.connection {
            self.runtime.block_on(connection.close());
        }
    }
}

const NOTHING: &[Value] = &[];

/// The writer's life: until every sender is gone.
pub(crate) fn write_all(mut link: Link, jobs: &Receiver<Box<dyn WriteJob>>) {
    while let Ok(first) = jobs.recv() {
        commit_batch(&mut link, first, jobs);
    }
    link.close();
}

/// Runs `first` and whatever else is waiting in one database transaction, then answers all of them.
///
/// The first needs no savepoint: if it is undone, nothing else has happened yet.
fn commit_batch(link: &mut Link, first: Box<dyn WriteJob>, jobs: &Receiver<Box<dyn WriteJob>>) {
    if let Err(error) = link.begin() {
        first.answer(Err(error));
        return;
    }
    let mut notices = Vec::new();
    let mut kept: Vec<Box<dyn WriteJob>> = Vec::new();
    let mut next = Some(first);
    let mut broken = None;
    while let Some(mut job) = next.take() {
        if kept.is_empty() {
            let mut tx = link.session();
            match job.run(&mut tx) {
                Verdict::Keep => {
                    notices.append(&mut tx.into_notices());
                    kept.push(job);
                }
                Verdict::Undo => {
                    if link.statement("ROLLBACK").is_err() {
                        link.connection = None;
                    }
                    job.answer(Ok(()));
                    return;
                }
            }
        } else {
            match run_inside(link, &mut job, &mut notices) {
                Ok(Verdict::Keep) => kept.push(job),
                Ok(Verdict::Undo) => job.answer(Ok(())),
                Err(error) => {
                    kept.push(job);
                    broken = Some(error);
                    break;
                }
            }
        }
        if kept.len() < BATCH_MAX {
            next = jobs.try_recv().ok();
        }
    }
    let committed = match broken {
        None => link.statement("COMMIT"),
        Some(error) => Err(error),
    };
    match committed {
        Ok(()) => {
            for notify in notices {
                notify();
            }
            for job in kept {
                job.answer(Ok(()));
            }
        }
        Err(error) => {
            // Whether the engine has rolled back or hangs in between: a new connection knows.
            link.connection = None;
            let text = with_cause(&error);
            for job in kept {
                job.answer(Err(DbError::Commit(text.clone())));
            }
        }
    }
}

/// Runs a transaction that others share the commit with. Savepoints nest and end with the commit: releasing each would
/// only cost a statement.
fn run_inside(
    link: &mut Link,
    job: &mut Box<dyn WriteJob>,
    notices: &mut Vec<Box<dyn FnOnce() + Send>>,
) -> Result<Verdict, DbError> {
    link.statement("SAVEPOINT this_one")?;
    let mut tx = link.session();
    let verdict = job.run(&mut tx);
    let mut wanted = tx.into_notices();
    match verdict {
        Verdict::Keep => notices.append(&mut wanted),
        Verdict::Undo => link.statement("ROLLBACK TO SAVEPOINT this_one")?,
    }
    Ok(verdict)
}

fn with_cause(error: &DbError) -> String {
    use std::error::Error;
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// A reader's life: takes turns with the other readers at the one queue.
pub(crate) fn read_all(mut link: Link, jobs: &Arc<Mutex<Receiver<ReadJob>>>) {
    loop {
        let job = {
            let queue = jobs.lock().expect("no holder of this lock panics");
            queue.recv()
        };
        match job {
            Ok(job) => {
                job(link.reader());
                link.drop_if_broken();
            }
            Err(_) => break,
        }
    }
    link.close();
}
