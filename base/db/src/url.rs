use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use crate::DbError;

/// Where a database is.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Target, DbError> {
        let invalid = || DbError::InvalidUrl(without_password(url));
        if let Some(path) = url.strip_prefix("sqlite://") {
            return if path.starts_with('/') && path.len() > 1 {
                Ok(Target::Sqlite(PathBuf::from(path)))
            } else {
                Err(invalid())
            };
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url).map_err(|_| invalid())?;
            return Ok(Target::Postgres(Box::new(options)));
        }
        Err(invalid())
    }
}

/// The address as it may be shown: `postgres://user:…@host` without what is behind the colon, and without parameters,
/// which may hold a password too.
pub(crate) fn without_password(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(address, _)| address);
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.chars().take(40).collect();
    };
    match rest.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split_once(':').map_or(login, |(user, _)| user);
            format!("{scheme}://{user}@{host}")
        }
        None => format!("{scheme}://{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_and_wrong_ones_refused() {
        assert!(matches!(
            Target::parse("sqlite:///var/lib/x.db"),
            Ok(Target::Sqlite(path)) if path.as_os_str() == "/var/lib/x.db"
        ));
        assert!(matches!(
            Target::parse("postgres:///mayfly?host=/run/postgresql"),
            Ok(Target::Postgres(_))
        ));
        for wrong in [
            "",
            "sqlite://",
            "sqlite://x.db",
            "sqlite::memory:",
            "mysql://x/y",
            "/x.db",
        ] {
            let error = Target::parse(wrong).unwrap_err();
            assert_eq!(error.kind(), mayfly_types::ErrorKind::Invalid, "{wrong}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("postgres://u:geheim@h:5432/db", "postgres://u@h:5432/db"),
            ("postgres://h/db?password=geheim", "postgres://h/db"),
            ("postgres://u:ge@heim@h/db", "postgres://u@h/db"),
            ("sqlite:///x/y.db", "sqlite:///x/y.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
