use std::os::unix::fs::PermissionsExt;

use futures_util::FutureExt;
use mayfly_db::{Db, DbError, Migration, args};
use mayfly_types::{ErrorKind, Timestamp};

const SCHEMA: &[Migration] = &[Migration {
    version: 1,
    name: "note",
    sql: "CREATE TABLE IF NOT EXISTS note (id BIGINT PRIMARY KEY, text TEXT, raw BYTEA);
          CREATE INDEX IF NOT EXISTS note_text ON note (text)",
}];

const INSERT: &str = "INSERT INTO note (id, text, raw) VALUES ($1, $2, $3)";

/// Runs every named test on both engines.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite { $(
            #[tokio::test]
            async fn $name() {
                super::$name(super::Fixture::on_sqlite().await).await;
            }
        )* }
        mod postgres { $(
            #[tokio::test]
            async fn $name() {
                super::$name(super::Fixture::on_postgres().await).await;
            }
        )* }
    };
}

struct Fixture {
    directory: tempfile::TempDir,
    db: Db,
}

on_both_engines!(
    values_come_back_as_they_went_in,
    migrations_run_once_and_can_run_twice,
    a_refused_transaction_leaves_nothing_even_beside_others,
    a_duplicate_is_a_conflict_and_spoils_only_its_own_transaction,
    a_panic_reaches_its_caller_and_the_writer_lives_on,
    readers_cannot_write_and_notices_come_after_the_commit,
    a_dropped_caller_leaves_a_whole_transaction,
);

impl Fixture {
    async fn on_sqlite() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/t.db", directory.path().display());
        Fixture::open(&url, directory).await
    }

    async fn on_postgres() -> Fixture {
        let url = mayfly_testing::postgres_url();
        Fixture::open(&url, tempfile::tempdir().unwrap()).await
    }

    async fn open(url: &str, directory: tempfile::TempDir) -> Fixture {
        let db = Db::open(url).await.unwrap();
        assert_eq!(db.migrate(SCHEMA).await.unwrap(), 1);
        Fixture { directory, db }
    }
}

async fn insert(db: &Db, id: i64) -> Result<(), DbError> {
    db.write(move |tx| {
        tx.execute(INSERT, args![id, "x", None::<Vec<u8>>])
            .map(drop)
    })
    .await
}

async fn count(db: &Db) -> i64 {
    db.read(|reader| {
        let row = reader.row("SELECT COUNT(*) AS n FROM note", &[])?;
        row.expect("a count is a row").get("n")
    })
    .await
    .map_err(|error: DbError| error.to_string())
    .unwrap()
}

async fn values_come_back_as_they_went_in(fixture: Fixture) {
    fixture
        .db
        .write(|tx| -> Result<(), DbError> {
            tx.execute(INSERT, args![i64::MAX, "grüße", vec![0u8, 255]])?;
            tx.execute(
                INSERT,
                args![Timestamp::from_millis(7), None::<&str>, None::<Vec<u8>>],
            )?;
            let rows = tx.rows("SELECT * FROM note ORDER BY id DESC", &[])?;
            assert_eq!(rows[0].get::<i64>("id")?, i64::MAX);
            assert_eq!(rows[0].get::<String>("text")?, "grüße");
            assert_eq!(rows[0].get::<Vec<u8>>("raw")?, [0, 255]);
            assert_eq!(rows[1].get::<Timestamp>("id")?, Timestamp::from_millis(7));
            assert_eq!(rows[1].get::<Option<String>>("text")?, None);
            assert!(rows[1].get::<String>("text").is_err());
            assert!(rows[1].get::<String>("absent").is_err());
            Ok(())
        })
        .await
        .unwrap();
}

async fn migrations_run_once_and_can_run_twice(fixture: Fixture) {
    let db = &fixture.db;
    assert_eq!(db.migrate(SCHEMA).await.unwrap(), 0);
    insert(db, 1).await.unwrap();
    db.write(|tx| tx.execute("DELETE FROM schema_migration", &[]))
        .await
        .unwrap();
    assert_eq!(db.migrate(SCHEMA).await.unwrap(), 1);
    assert_eq!(count(db).await, 1);

    db.write(|tx| tx.execute("INSERT INTO schema_migration VALUES (9, 'later')", &[]))
        .await
        .unwrap();
    let error = db.migrate(SCHEMA).await.unwrap_err();
    assert!(matches!(
        error,
        DbError::FromTheFuture {
            version: 9,
            newest: 1
        }
    ));
    if let Ok(file) = fixture.directory.path().join("t.db").metadata() {
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
}

async fn a_refused_transaction_leaves_nothing_even_beside_others(fixture: Fixture) {
    let db = &fixture.db;
    let even_only = |id: i64| {
        let db = db.clone();
        async move {
            db.write(move |tx| -> Result<(), DbError> {
                tx.execute(INSERT, args![id, "x", None::<Vec<u8>>])?;
                if id % 2 == 0 {
                    Ok(())
                } else {
                    Err(DbError::column("id", "odd".to_owned()))
                }
            })
            .await
        }
    };
    let results = futures_util::future::join_all((0..200).map(even_only)).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 100);
    assert_eq!(count(db).await, 100);
}

async fn a_duplicate_is_a_conflict_and_spoils_only_its_own_transaction(fixture: Fixture) {
    let db = &fixture.db;
    insert(db, 1).await.unwrap();
    let (again, other) = tokio::join!(insert(db, 1), insert(db, 2));
    let error = again.unwrap_err();
    assert!(error.is_duplicate());
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("INSERT INTO note"), "{error}");
    other.unwrap();

    let ignored = db
        .write(|tx| -> Result<(), DbError> {
            tx.execute(INSERT, args![3i64, "x", None::<Vec<u8>>])?;
            let _ = tx.execute(INSERT, args![1i64, "x", None::<Vec<u8>>]);
            Ok(())
        })
        .await;
    assert!(matches!(ignored, Err(DbError::Spoiled)));
    assert_eq!(count(db).await, 2);
}

async fn a_panic_reaches_its_caller_and_the_writer_lives_on(fixture: Fixture) {
    let db = &fixture.db;
    let panicking = db.write(|_| -> Result<(), DbError> { panic!("on purpose") });
    let caught = std::panic::AssertUnwindSafe(panicking).catch_unwind().await;
    assert!(caught.is_err());
    insert(db, 1).await.unwrap();
    assert_eq!(count(db).await, 1);
}

async fn readers_cannot_write_and_notices_come_after_the_commit(fixture: Fixture) {
    let db = &fixture.db;
    let refused = db
        .read(|reader| reader.rows("INSERT INTO note (id) VALUES (1) RETURNING id", &[]))
        .await;
    assert!(refused.is_err());

    let (seen, mut when_seen) = tokio::sync::watch::channel(0);
    let notify = seen.clone();
    db.write(move |tx| {
        tx.after_commit(move || {
            notify.send_replace(1);
        });
        tx.execute(INSERT, args![1i64, "x", None::<Vec<u8>>])
    })
    .await
    .unwrap();
    assert_eq!(*when_seen.borrow_and_update(), 1);
    let notify = seen.clone();
    let failed: Result<(), DbError> = db
        .write(move |tx| {
            tx.after_commit(move || {
                notify.send_replace(2);
            });
            Err(DbError::Closed)
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(*when_seen.borrow_and_update(), 1);
}

async fn a_dropped_caller_leaves_a_whole_transaction(fixture: Fixture) {
    let db = &fixture.db;
    let (begun, when_begun) = tokio::sync::oneshot::channel();
    let (go, gate) = std::sync::mpsc::channel();
    let write = db.write(move |tx| -> Result<(), DbError> {
        tx.execute(INSERT, args![1i64, "x", None::<Vec<u8>>])?;
        let _ = begun.send(());
        let _ = gate.recv();
        tx.execute(INSERT, args![2i64, "x", None::<Vec<u8>>])?;
        Ok(())
    });
    tokio::select! {
        _ = write => panic!("the transaction waits at the gate"),
        begun = when_begun => begun.unwrap(),
    }
    go.send(()).unwrap();
    insert(db, 3).await.unwrap();
    assert_eq!(count(db).await, 3);
}

#[tokio::test]
async fn wrong_addresses_are_named() {
    for (url, kind) in [
        ("nonsense", ErrorKind::Invalid),
        ("sqlite:///no/such/directory/t.db", ErrorKind::Unavailable),
        (
            "postgres:///x?host=/no/such/directory",
            ErrorKind::Unavailable,
        ),
    ] {
        assert_eq!(Db::open(url).await.unwrap_err().kind(), kind, "{url}");
    }
}
