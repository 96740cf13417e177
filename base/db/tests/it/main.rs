//! The layer over a real SQLite file: transactions, migrations, errors.

mod sqlite;
