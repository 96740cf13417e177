use mayfly_control_store::ControlStore;
use mayfly_db::{Db, DbError};

use crate::fixture::{Cloud, on_both_engines};

on_both_engines!(migrations_can_run_twice, a_newer_database_is_refused);

async fn migrations_can_run_twice(cloud: Cloud) {
    cloud.app("web").await;
    let events = cloud.events().await;
    let db = Db::open(&cloud.url).await.unwrap();
    db.write(|tx| tx.execute("DELETE FROM schema_migration", &[]))
        .await
        .unwrap();
    let again = ControlStore::open(&cloud.url).await.unwrap();
    assert_eq!(
        again.app("web".parse().unwrap()).await.unwrap().numeric_id,
        1
    );
    assert_eq!(cloud.events().await, events);
    let second = cloud.app("second").await;
    assert_eq!(second.numeric_id, 2);
}

async fn a_newer_database_is_refused(cloud: Cloud) {
    let db = Db::open(&cloud.url).await.unwrap();
    db.write(|tx| tx.execute("INSERT INTO schema_migration VALUES (99, 'later')", &[]))
        .await
        .unwrap();
    let error = ControlStore::open(&cloud.url).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("99"), "{source}");
    assert!(matches!(
        error,
        mayfly_control_store::StoreError::Db(DbError::FromTheFuture { version: 99, .. })
    ));
}
