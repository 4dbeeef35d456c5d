//! Classifies the databases' error codes.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

/// Whether the work was rolled back because of concurrent work: a deadlock or a serialization
/// failure (<https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html>).
pub(in crate::store) fn is_contended(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    error.try_downcast_ref::<PgDatabaseError>().is_some() && code.starts_with("40")
}

/// Whether the disk is full.
pub(in crate::store) fn is_full(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<SqliteError>().is_some() {
        return code.parse::<i32>().unwrap_or_default() & 0xff == 13;
    }
    error.try_downcast_ref::<PgDatabaseError>().is_some() && code == "53100"
}

/// Whether the same statement can succeed later: no disk space, no connection or no lock.
pub(in crate::store) fn is_unavailable(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<SqliteError>().is_some() {
        // https://sqlite.org/rescode.html: the low byte of an extended code is
        // BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN or PROTOCOL.
        let code: i32 = code.parse().unwrap_or_default();
        return matches!(code & 0xff, 5 | 6 | 7 | 8 | 10 | 13 | 14 | 15);
    }
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        // https://www.postgresql.org/docs/current/errcodes-appendix.html: connection, insufficient
        // resources (disk full), operator intervention (shutdown), system error, lock not
        // available, a server that has become a standby, and a transaction that was ended because
        // it was idle.
        return ["08", "53", "57", "58", "55P03", "25006", "25P03"]
            .iter()
            .any(|class| code.starts_with(class));
    }
    false
}
