use std::fmt::Display;
use std::str::FromStr;

use mayfly_types::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, ValueRef as _};

use crate::DbError;

/// One row of an answer. Columns are read by name.
pub struct Row(pub(crate) Engine);

pub(crate) enum Engine {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of a column: `row.get::<i64>("seq")`, `row.get::<Option<String>>("note")`.
    ///
    /// # Errors
    /// `DbError::Column` if there is no such column or it holds something else.
    pub fn get<T: FromColumn>(&self, column: &str) -> Result<T, DbError> {
        T::from_column(self, column)
    }

    /// The text of a column as a value of its own type, such as an id or a name.
    ///
    /// # Errors
    /// `DbError::Column` if the text is not one.
    pub fn parse<T>(&self, column: &str) -> Result<T, DbError>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.get::<String>(column)?
            .parse()
            .map_err(|error: T::Err| DbError::column(column, error.to_string()))
    }

    /// Like [`Row::parse`]; a null is `None`.
    pub fn parse_opt<T>(&self, column: &str) -> Result<Option<T>, DbError>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.get::<Option<String>>(column)?
            .map(|text| {
                text.parse()
                    .map_err(|error: T::Err| DbError::column(column, error.to_string()))
            })
            .transpose()
    }
}

/// What a column can be read as.
pub trait FromColumn: Sized {
    /// Reads the column; see [`Row::get`].
    fn from_column(row: &Row, column: &str) -> Result<Self, DbError>;
}

macro_rules! from_column {
    ($($type:ty),*) => { $(
        impl FromColumn for Option<$type> {
            fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
                let value = match &row.0 {
                    // SQLite checks against the declared type, whose names it does not all know.
                    Engine::Sqlite(row) => match row.try_get_raw(column) {
                        Ok(raw) if raw.is_null() => Ok(None),
                        Ok(_) => row.try_get_unchecked::<$type, _>(column).map(Some),
                        Err(error) => Err(error),
                    },
                    Engine::Postgres(row) => row.try_get::<Option<$type>, _>(column),
                };
                value.map_err(|error| DbError::column(column, error.to_string()))
            }
        }

        impl FromColumn for $type {
            fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
                row.get::<Option<$type>>(column)?
                    .ok_or_else(|| DbError::column(column, "is null".to_owned()))
            }
        }
    )* };
}

from_column!(i64, String, Vec<u8>);

macro_rules! from_int {
    ($($type:ty),*) => { $(
        impl FromColumn for Option<$type> {
            fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
                row.get::<Option<i64>>(column)?
                    .map(|value| {
                        value.try_into().map_err(|_| {
                            DbError::column(column, format!("{value} is out of range"))
                        })
                    })
                    .transpose()
            }
        }

        impl FromColumn for $type {
            fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
                row.get::<Option<$type>>(column)?
                    .ok_or_else(|| DbError::column(column, "is null".to_owned()))
            }
        }
    )* };
}

from_int!(i32, u32);

impl FromColumn for bool {
    fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
        Ok(row.get::<i64>(column)? != 0)
    }
}

impl FromColumn for Timestamp {
    fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
        row.get::<i64>(column).map(Timestamp::from_millis)
    }
}

impl FromColumn for Option<Timestamp> {
    fn from_column(row: &Row, column: &str) -> Result<Self, DbError> {
        Ok(row.get::<Option<i64>>(column)?.map(Timestamp::from_millis))
    }
}
