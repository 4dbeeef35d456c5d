//! Which of the databases' error codes mean "not now".

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

/// Whether the work was undone for the sake of others: a deadlock, or what cannot be put into
/// one order (<https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html>).
pub(in crate::store) fn is_contended(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    error.try_downcast_ref::<PgDatabaseError>().is_some() && code.starts_with("40")
}

/// Whether there is no room on the disk.
pub(in crate::store) fn is_full(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<SqliteError>().is_some() {
        return code.parse::<i32>().unwrap_or_default() & 0xff == 13;
    }
    error.try_downcast_ref::<PgDatabaseError>().is_some() && code == "53100"
}

/// Whether the same statement may work later: no room, no connection, no lock.
pub(in crate::store) fn is_unavailable(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<SqliteError>().is_some() {
        // https://sqlite.org/rescode.html: the low byte of an extended code is
        // BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN or PROTOCOL.
        let code: i32 = code.parse().unwrap_or_default();
        return matches!(code & 0xff, 5 | 6 | 7 | 8 | 10 | 13 | 14 | 15);
    }
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        // https://www.postgresql.org/docs/current/errcodes-appendix.html:
        // connection, insufficient resources
        // (disk full), operator intervention (shutdown), system error, lock
        // not available, a server that has become a standby, and a transaction that
        // was ended because we stood still.
        return ["08", "53", "57", "58", "55P03", "25006", "25P03"]
            .iter()
            .any(|class| code.starts_with(class));
    }
    false
}
