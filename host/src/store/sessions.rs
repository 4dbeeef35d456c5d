//! Sessions of signed-in browsers.
//!
//! Invariant: only a token's SHA-256 is stored.
//! Invariant: an expired session is never returned, even while its row still exists.

use sqlx::{AnyConnection, FromRow};

use super::signals::Touches;
use super::{Result, Store, UserId};

/// A stored session.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Session {
    /// The SHA-256 of the cookie's token, in hexadecimal.
    pub token_sha256: String,
    /// The principal that is signed in.
    pub principal: String,
    /// The token that a changing request must send besides the cookie.
    pub csrf_token: String,
    /// When it began, µs.
    pub created_at: i64,
    /// When it was last renewed, µs.
    pub seen_at: i64,
    /// When it expires, µs.
    pub expires_at: i64,
}

async fn insert(connection: &mut AnyConnection, session: Session) -> Result<()> {
    sqlx::query(
        "INSERT INTO sessions (token_sha256, principal, csrf_token, created_at, seen_at, \
         expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(session.token_sha256)
    .bind(session.principal)
    .bind(session.csrf_token)
    .bind(session.created_at)
    .bind(session.seen_at)
    .bind(session.expires_at)
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// Inserts a session.
    pub async fn insert_session(&self, session: Session) -> Result<()> {
        self.write(Touches::Records, move |connection| Box::pin(insert(connection, session))).await
    }

    /// Inserts a session for a user who has just signed in, and records the sign-in. Does nothing
    /// and returns `false` if the user is disabled, or if `password_hash` is given and is no longer
    /// the user's.
    pub async fn insert_session_of(
        &self,
        session: Session,
        user_id: &UserId,
        password_hash: Option<String>,
    ) -> Result<bool> {
        let user_id = user_id.clone();
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                // Also delays a concurrent change of the user, which then ends this session.
                let signed_in = sqlx::query(
                    "UPDATE users SET signed_in_at = $2 WHERE id = $1 AND disabled_at IS NULL \
                     AND ($3 IS NULL OR password_hash = $3)",
                )
                .bind(user_id)
                .bind(session.created_at)
                .bind(password_hash)
                .execute(&mut *connection)
                .await?;
                if signed_in.rows_affected() == 0 {
                    return Ok(false);
                }
                insert(connection, session).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Returns the session of a token, if it is valid at the time `now`, µs.
    pub async fn find_session(&self, token_sha256: &str, now: i64) -> Result<Option<Session>> {
        let found = sqlx::query_as(
            "SELECT token_sha256, principal, csrf_token, created_at, seen_at, expires_at \
             FROM sessions WHERE token_sha256 = $1 AND expires_at > $2",
        )
        .bind(token_sha256)
        .bind(now)
        .fetch_optional(self.reads())
        .await?;
        Ok(found)
    }

    /// Records that a session was seen, and extends it. An ended session stays ended.
    pub async fn renew_session(
        &self,
        token_sha256: &str,
        seen_at: i64,
        expires_at: i64,
    ) -> Result<()> {
        let token_sha256 = token_sha256.to_owned();
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE sessions SET seen_at = $2, expires_at = $3 \
                     WHERE token_sha256 = $1 AND expires_at > $2",
                )
                .bind(token_sha256)
                .bind(seen_at)
                .bind(expires_at)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Ends a session; does nothing if it has already ended.
    pub async fn delete_session(&self, token_sha256: &str) -> Result<()> {
        let token_sha256 = token_sha256.to_owned();
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                sqlx::query("DELETE FROM sessions WHERE token_sha256 = $1")
                    .bind(token_sha256)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Ends every session of a principal. Returns the number ended.
    pub async fn delete_sessions_of(&self, principal: &str) -> Result<u64> {
        let principal = principal.to_owned();
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let done = sqlx::query("DELETE FROM sessions WHERE principal = $1")
                    .bind(principal)
                    .execute(connection)
                    .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }

    /// Deletes at most `limit` sessions that expired by `at`, µs. Returns the number deleted. The
    /// deletion is not visible to readers.
    pub async fn delete_expired_sessions(&self, at: i64, limit: i64) -> Result<u64> {
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "DELETE FROM sessions WHERE token_sha256 IN (SELECT token_sha256 \
                     FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
                )
                .bind(at)
                .bind(limit)
                .execute(connection)
                .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }
}
