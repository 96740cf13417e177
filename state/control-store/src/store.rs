use mayfly_db::{Db, Reader, Tx, args};
use mayfly_types::EventSeq;
use tokio::sync::watch;

use crate::schema::MIGRATIONS;
use crate::{StoreError, event};

/// The control plane's database. Clones share it.
#[derive(Clone, Debug)]
pub struct ControlStore {
    db: Db,
    newest: watch::Sender<EventSeq>,
}

impl ControlStore {
    /// Opens `sqlite:///path` or `postgres://…` and brings its schema up to date.
    pub async fn open(url: &str) -> Result<ControlStore, StoreError> {
        let db = Db::open(url).await?;
        db.migrate(MIGRATIONS).await?;
        let newest = db.read(event::newest).await?;
        Ok(ControlStore {
            db,
            newest: watch::Sender::new(newest),
        })
    }

    /// The newest position in the event log; changes with every change made through this process.
    ///
    /// With several processes on one PostgreSQL, look at the log every second as well.
    pub fn watch(&self) -> watch::Receiver<EventSeq> {
        self.newest.subscribe()
    }

    /// Runs a transaction and wakes the watchers of the log after it.
    pub(crate) async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let newest = self.newest.clone();
        self.db
            .write(move |tx| {
                let changed = change(tx)?;
                let after = event::newest(tx)?;
                tx.after_commit(move || {
                    newest.send_if_modified(|seq| std::mem::replace(seq, after) < after);
                });
                Ok(changed)
            })
            .await
    }

    pub(crate) async fn read<T, F>(&self, question: F) -> Result<T, StoreError>
    where
        F: FnOnce(&mut Reader<'_>) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        self.db.read(question).await
    }
}

const NEXT: &str = "UPDATE counter SET value = value + 1 WHERE name = $1 RETURNING value";

/// The next number of a kind; never given out twice.
pub(crate) fn next_number(tx: &mut Tx<'_>, of: &'static str) -> Result<i64, StoreError> {
    let row = tx.row(NEXT, args![of])?;
    let row = row.expect("the first migration makes a counter for every kind");
    Ok(row.get("value")?)
}
