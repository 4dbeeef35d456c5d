//! How each database is copied while it is used: SQLite by a statement, PostgreSQL by
//! its own program `pg_dump`, which is given our moment and our way in.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use sqlx::{AnyConnection, ConnectOptions};

use super::{CONNECT_TIMEOUT, DatabaseUrl, Dialect};
use crate::store::{Error, Result};

/// SQLite: a new file with all that is committed (<https://sqlite.org/lang_vacuum.html>).
pub(in crate::store) const COPY_INTO: &str = "VACUUM INTO $1";
/// PostgreSQL: a transaction that sees one moment, and may stand still while `pg_dump`
/// works.
pub(in crate::store) const BEGIN_EXPORT: &[&str] = &[
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
];
/// PostgreSQL: the moment's name for other sessions.
pub(in crate::store) const EXPORT: &str = "SELECT CAST(pg_export_snapshot() AS TEXT)";
/// PostgreSQL: what is in the schema that PiCloud's tables are made in.
pub(in crate::store) const COUNT_TABLES: &str =
    "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema()";

/// Counts the tables `settings` of the database: 1 or 0.
pub(in crate::store) fn settings_table(connection: &AnyConnection) -> &'static str {
    match connection.backend_name() {
        "SQLite" => "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'settings'",
        _ => {
            "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema() \
             AND tablename = 'settings'"
        }
    }
}

/// The parameters of a URL that PostgreSQL's own programs know too, and what they call
/// them; what only our driver knows they refuse.
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

/// How PostgreSQL's own programs reach the database.
pub struct Libpq {
    /// The URL without the password, which other users of the machine may see.
    pub url: String,
    /// The password, if the URL has one: for `PGPASSWORD`.
    pub password: Option<String>,
}

impl DatabaseUrl {
    /// `sqlite` or `postgres`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.dialect.name()
    }

    /// The file of an SQLite database.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let path = || percent_decode_str(self.options.database_url.path()).collect();
        (self.dialect == Dialect::Sqlite).then(|| OsString::from_vec(path()).into())
    }

    /// How PostgreSQL's own programs reach the database.
    #[must_use]
    pub fn libpq(&self) -> Libpq {
        let given = &self.options.database_url;
        let mut url = given.clone();
        let mut password = given.password().map(decoded);
        // A `postgres` URL can hold a password, so it can also be without one.
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

/// Connects to a database that is there already, and leaves it as it is.
pub(in crate::store) async fn connect_to_copy(url: &DatabaseUrl) -> Result<AnyConnection> {
    let mut options = url.connect_options();
    if url.dialect == Dialect::Sqlite {
        // Not `rwc`: a file that is missing stays missing.
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
