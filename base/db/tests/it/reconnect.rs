use mayfly_db::{Db, DbError};
use mayfly_types::ErrorKind;

/// Ends every other connection to the database, as a restarted server would.
const CUT_OTHERS: &str = "
    SELECT pg_terminate_backend(pid) AS cut FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test]
async fn a_lost_server_connection_is_opened_again() {
    let url = mayfly_testing::postgres_url();
    let db = Db::open(&url).await.unwrap();
    db.write(|tx| tx.execute("CREATE TABLE note (id BIGINT PRIMARY KEY)", &[]))
        .await
        .unwrap();
    let other = Db::open(&url).await.unwrap();
    other
        .write(|tx| tx.rows(CUT_OTHERS, &[]).map(drop))
        .await
        .unwrap();

    // The writer finds out before it has done anything, so nobody notices.
    db.write(|tx| tx.execute("INSERT INTO note VALUES (1)", &[]))
        .await
        .unwrap();
    // Each of the three readers answers one question with the loss and the next one from a new connection.
    let mut losses = 0;
    for _ in 0..30 {
        match db
            .read(|reader| reader.rows("SELECT id FROM note", &[]))
            .await
        {
            Ok(rows) => assert_eq!(rows.len(), 1),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                losses += 1;
            }
        }
    }
    assert!(losses <= 3, "{losses}");
    let answered: Result<(), DbError> = db.write(|_| Ok(())).await;
    answered.unwrap();
}
