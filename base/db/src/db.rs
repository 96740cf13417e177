use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::sync::oneshot;

use crate::connection::Access;
use crate::session::{Reader, Tx};
use crate::url::{Target, without_password};
use crate::worker::{Link, ReadJob, Verdict, WriteJob, read_all, write_all};
use crate::{DbError, Migration, migration};

/// Calls that may wait for the writer, or for the readers: far more than requests an API serves at once. A full queue
/// means the disk has stopped; waiting longer would only hide it.
const QUEUE_DEPTH: usize = 4096;

/// Connections that answer questions, so that one long list does not hold up the rest.
const READERS: usize = 3;

/// A database with one writer and a few readers. Clones share them; the last one to go ends their threads.
#[derive(Clone)]
pub struct Db {
    writer: SyncSender<Box<dyn WriteJob>>,
    readers: SyncSender<ReadJob>,
}

impl Db {
    /// Opens `sqlite:///path` (made if missing, in an existing directory, readable by its owner only) or
    /// `postgres://user:password@host/name`.
    pub async fn open(url: &str) -> Result<Db, DbError> {
        let target = Target::parse(url)?;
        let shown = without_password(url);
        let (opened, when_opened) = oneshot::channel();
        thread::Builder::new()
            .name("db-open".to_owned())
            .spawn(move || {
                // The caller may have given up; then the queues are dropped here and the threads end.
                let _ = opened.send(start(&target, &shown));
            })
            .map_err(thread_failed)?;
        when_opened.await.map_err(|_| DbError::Closed)?
    }

    /// Applies the migrations that are missing, in one transaction; returns how many that were.
    ///
    /// # Errors
    /// `DbError::FromTheFuture` if the database has seen a newer program.
    pub async fn migrate(&self, migrations: &'static [Migration]) -> Result<usize, DbError> {
        self.write(move |tx| migration::apply(tx, migrations)).await
    }

    /// Runs `change` as a transaction. When this returns `Ok`, the change is on disk; if `change` returns an error,
    /// nothing of it is kept.
    ///
    /// # Errors
    /// What `change` returns; `DbError::Full` when too much is waiting; `DbError::Commit` when the disk or the server
    /// failed (on a lost connection to a server the change may nevertheless have been kept).
    ///
    /// # Cancellation
    /// Dropping the future stops the waiting, not the transaction.
    pub async fn write<T, E, F>(&self, change: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Change {
            state: State::Waiting(change),
            reply,
        });
        self.writer.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => DbError::Full(QUEUE_DEPTH),
            TrySendError::Disconnected(_) => DbError::Closed,
        })?;
        answer
            .await
            .map_err(|_| DbError::Closed)?
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs `question` on a reader.
    ///
    /// # Cancellation
    /// Dropping the future stops the waiting; the question is answered to nobody.
    pub async fn read<T, E, F>(&self, question: F) -> Result<T, E>
    where
        F: FnOnce(&mut Reader<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: ReadJob = Box::new(move |reader| {
            let result = catch_unwind(AssertUnwindSafe(|| match reader {
                Ok(mut reader) => question(&mut reader),
                Err(error) => Err(error.into()),
            }));
            let _ = reply.send(result);
        });
        self.readers.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => DbError::Full(QUEUE_DEPTH),
            TrySendError::Disconnected(_) => DbError::Closed,
        })?;
        answer
            .await
            .map_err(|_| DbError::Closed)?
            .unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Db")
    }
}

fn thread_failed(error: std::io::Error) -> DbError {
    DbError::Open {
        url: "a thread for it".to_owned(),
        source: Box::new(error),
    }
}

/// Opens the connections (the writer first, which makes the file) and starts their threads.
fn start(target: &Target, shown: &str) -> Result<Db, DbError> {
    let (writer, writes) = sync_channel::<Box<dyn WriteJob>>(QUEUE_DEPTH);
    let (readers, reads) = sync_channel::<ReadJob>(QUEUE_DEPTH);
    let link = Link::open(target.clone(), shown.to_owned(), Access::Write)?;
    thread::Builder::new()
        .name("db-writer".to_owned())
        .spawn(move || write_all(link, &writes))
        .map_err(thread_failed)?;
    let reads = Arc::new(Mutex::new(reads));
    for _ in 0..READERS {
        let link = Link::open(target.clone(), shown.to_owned(), Access::Read)?;
        let reads = reads.clone();
        thread::Builder::new()
            .name("db-reader".to_owned())
            .spawn(move || read_all(link, &reads))
            .map_err(thread_failed)?;
    }
    Ok(Db { writer, readers })
}

/// What the caller of a transaction is told: its result, or the panic of its closure.
type Told<T, E> = Result<Result<T, E>, Box<dyn std::any::Any + Send>>;

struct Change<T, E, F> {
    state: State<T, E, F>,
    reply: oneshot::Sender<Told<T, E>>,
}

enum State<T, E, F> {
    Waiting(F),
    Ran(Told<T, E>),
    Gone,
}

impl<T, E, F> WriteJob for Change<T, E, F>
where
    F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<DbError> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Verdict {
        let State::Waiting(change) = std::mem::replace(&mut self.state, State::Gone) else {
            return Verdict::Undo;
        };
        let told = catch_unwind(AssertUnwindSafe(|| change(tx)));
        let (told, verdict) = match told {
            Ok(Ok(_)) if tx.has_failed() => (Ok(Err(DbError::Spoiled.into())), Verdict::Undo),
            Ok(Ok(kept)) => (Ok(Ok(kept)), Verdict::Keep),
            undone => (undone, Verdict::Undo),
        };
        self.state = State::Ran(told);
        verdict
    }

    fn answer(self: Box<Self>, committed: Result<(), DbError>) {
        let told = match (committed, self.state) {
            (Ok(()), State::Ran(told)) => told,
            (Ok(()), State::Waiting(_) | State::Gone) => Ok(Err(DbError::Closed.into())),
            (Err(error), _) => Ok(Err(error.into())),
        };
        // Nobody may be waiting any more.
        let _ = self.reply.send(told);
    }
}
