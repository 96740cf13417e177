use crate::{DbError, Tx, args};

/// One numbered step of a schema. Steps only go forward and can run twice (`CREATE TABLE IF NOT EXISTS …`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// 1, 2, 3, … without holes.
    pub version: u32,
    pub name: &'static str,
    /// Statements divided by semicolons.
    pub sql: &'static str,
}

const CREATE_TABLE: &str = "
    CREATE TABLE IF NOT EXISTS schema_migration (version BIGINT PRIMARY KEY, name TEXT NOT NULL)";

const APPLIED: &str = "SELECT COALESCE(MAX(version), 0) AS version FROM schema_migration";

const RECORD: &str = "INSERT INTO schema_migration (version, name) VALUES ($1, $2)";

/// Applies the steps that are missing, all in the transaction; returns how many that were.
pub(crate) fn apply(tx: &mut Tx<'_>, migrations: &[Migration]) -> Result<usize, DbError> {
    debug_assert!(
        migrations
            .iter()
            .zip(1..)
            .all(|(migration, number)| migration.version == number),
        "migrations are numbered from 1 without holes"
    );
    tx.run(CREATE_TABLE)?;
    let applied: u32 = match tx.row(APPLIED, &[])? {
        Some(row) => row.get("version")?,
        None => 0,
    };
    let newest = migrations.last().map_or(0, |last| last.version);
    if applied > newest {
        return Err(DbError::FromTheFuture {
            version: applied,
            newest,
        });
    }
    let missing = migrations
        .iter()
        .filter(|migration| migration.version > applied);
    let mut count = 0;
    for migration in missing {
        tx.run(migration.sql)
            .and_then(|()| tx.execute(RECORD, args![migration.version, migration.name]))
            .map_err(|source| DbError::Migration {
                version: migration.version,
                name: migration.name,
                source: Box::new(source),
            })?;
        count += 1;
    }
    Ok(count)
}
