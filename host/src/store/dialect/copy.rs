//! Copies a database while it is in use: SQLite with a statement, PostgreSQL with its own program
//! `pg_dump`, which uses our snapshot and connection settings.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use sqlx::{AnyConnection, ConnectOptions};

use super::{CONNECT_TIMEOUT, DatabaseUrl, Dialect};
use crate::store::{Error, Result};

/// SQLite: writes all committed data to a new file (<https://sqlite.org/lang_vacuum.html>).
pub(in crate::store) const COPY_INTO: &str = "VACUUM INTO $1";
/// PostgreSQL: begins a transaction that sees one moment and can stay idle while `pg_dump` works.
pub(in crate::store) const BEGIN_EXPORT: &[&str] = &[
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
];
/// PostgreSQL: exports the snapshot for other sessions and returns its name.
pub(in crate::store) const EXPORT: &str = "SELECT CAST(pg_export_snapshot() AS TEXT)";
/// PostgreSQL: counts the tables in the schema that holds PiCloud's tables.
pub(in crate::store) const COUNT_TABLES: &str =
    "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema()";

/// Counts the database's tables named `settings`: 1 or 0.
pub(in crate::store) fn settings_table(connection: &AnyConnection) -> &'static str {
    match connection.backend_name() {
        "SQLite" => "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'settings'",
        _ => {
            "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema() \
             AND tablename = 'settings'"
        }
    }
}

/// The URL parameters that PostgreSQL's own programs also know, with their names there. Those
/// programs refuse parameters that only our driver knows.
const LIBPQ: [(&str, &str); 15] = [
    ("host", "host"),
    ("hostaddr", "hostaddr"),
    ("port", "port"),
    ("dbname", "dbname"),
    ("user", "user"),
    ("options", "options"),
    ("application_name", "application_name"),
    ("sslmode", "sslmode"),
    ("ssl-mode", "sslmode"),
    ("sslrootcert", "sslrootcert"),
    ("ssl-root-cert", "sslrootcert"),
    ("sslcert", "sslcert"),
    ("ssl-cert", "sslcert"),
    ("sslkey", "sslkey"),
    ("ssl-key", "sslkey"),
];

/// The connection settings for PostgreSQL's own programs.
pub struct Libpq {
    /// The URL without the password, because other users of the machine can see it.
    pub url: String,
    /// The password for `PGPASSWORD`, if the URL has one.
    pub password: Option<String>,
}

impl DatabaseUrl {
    /// Returns `sqlite` or `postgres`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.dialect.name()
    }

    /// Returns the file of an SQLite database; `None` for PostgreSQL.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let path = || percent_decode_str(self.options.database_url.path()).collect();
        (self.dialect == Dialect::Sqlite).then(|| OsString::from_vec(path()).into())
    }

    /// Returns the connection settings for PostgreSQL's own programs.
    #[must_use]
    pub fn libpq(&self) -> Libpq {
        let given = &self.options.database_url;
        let mut url = given.clone();
        let mut password = given.password().map(decoded);
        // A `postgres` URL can hold a password, so removing it cannot fail.
        let _ = url.set_password(None);
        url.set_query(None);
        for (name, value) in given.query_pairs() {
            if name == "password" {
                password = Some(value.into_owned());
            } else if let Some((_, theirs)) = LIBPQ.iter().find(|(ours, _)| *ours == name) {
                url.query_pairs_mut().append_pair(theirs, &value);
            }
        }
        Libpq { url: url.into(), password }
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Connects to an existing database without changing it.
pub(in crate::store) async fn connect_to_copy(url: &DatabaseUrl) -> Result<AnyConnection> {
    let mut options = url.connect_options();
    if url.dialect == Dialect::Sqlite {
        // Not `rwc`: a missing file must not be created.
        options.database_url.set_query(Some("mode=rw"));
    }
    match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(Error::unavailable("no connection to the database in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_url_is_the_one_it_was_made_of() {
        for path in ["/var/lib/a.db", "/a b/ä%20?#.db"] {
            let url = DatabaseUrl::sqlite_file(path.as_ref()).unwrap();
            assert_eq!(url.file(), Some(path.into()));
        }
        assert_eq!("postgres://h/d".parse::<DatabaseUrl>().unwrap().file(), None);
    }

    #[test]
    fn other_programs_get_the_password_apart_and_no_parameter_of_ours() {
        for (given, url, password) in [
            ("postgres://u@h:5433/d", "postgres://u@h:5433/d", None),
            ("postgres://u:p%40ss@h/d", "postgres://u@h/d", Some("p@ss")),
            (
                "postgres://h/d?password=p&ssl-mode=require&statement-cache-capacity=5",
                "postgres://h/d?sslmode=require",
                Some("p"),
            ),
        ] {
            let libpq = given.parse::<DatabaseUrl>().unwrap().libpq();
            assert_eq!((&*libpq.url, libpq.password.as_deref()), (url, password));
        }
    }

    #[tokio::test]
    async fn a_database_that_is_missing_is_not_made() {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::sqlite_file(&folder.path().join("picloud.db")).unwrap();
        let refused = connect_to_copy(&url).await.err();
        assert!(matches!(refused, Some(Error::Unavailable(_))), "{refused:?}");
        assert!(!folder.path().join("picloud.db").exists());
    }
}
