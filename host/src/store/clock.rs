//! What is done when the clock of the machine turns out to be wrong.
//!
//! SQLite has no clock but the machine's. On PostgreSQL the server's clock counts, which is the
//! server's to keep.
//!
//! ```text
//!  set back while the server runs ──▶ what waits is moved back with it
//!  set back while it did not run  ──▶ what was written in the time that has not come yet is
//!                                     moved back
//!  set forward                    ──▶ nothing: what is late comes now
//! ```

use std::sync::PoisonError;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use tokio::time::Instant;

use super::signals::Touches;
use super::{Result, Store};

/// So far the clock may be set back before it is noticed.
const SET_BACK_US: i64 = 5_000_000;

/// The setting with what the clock showed when the server last looked at it.
const CLOCK_SETTING: &str = "clock_at";
/// The setting with the last time that a clock which was ahead has shown.
const HEALED_SETTING: &str = "clock_was_ahead_until";

impl Store {
    /// Notices when the clock of the machine was set back, and moves what waits with it:
    /// an event that was due in a minute is due in a minute still. A clock that was set
    /// forward, or a machine that slept, makes nothing late and needs nothing.
    ///
    /// Only where the database's clock is the machine's own; a server's clock is the
    /// server's to keep.
    pub(super) async fn follow_clock(&self) -> Result<()> {
        if self.is_shared() {
            return Ok(());
        }
        let now = self.now().await?;
        let seen = {
            let mut seen = self.inner.clock_seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.replace((Instant::now(), now))
        };
        match seen.and_then(|(at, then)| set_back_by(then, at.elapsed(), now)) {
            None => Ok(()),
            Some(by_us) => self.advance_events(by_us).await,
        }
    }

    /// Makes everything that waits, and every lease, end `by_us` microseconds earlier.
    pub async fn advance_events(&self, by_us: i64) -> Result<()> {
        self.write(Touches::Outbox, move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE outbox SET available_at = available_at - $1, \
                     leased_until = leased_until - $1",
                )
                .bind(by_us)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Notes what the clock shows, for [`Store::heal_clock`] of the next start.
    ///
    /// # Errors
    /// From the database.
    pub async fn note_clock(&self) -> Result<()> {
        if self.is_shared() {
            return Ok(());
        }
        let now = self.now().await?;
        self.put_setting(CLOCK_SETTING, &now.to_string(), now).await
    }

    /// Moves what a clock that was ahead has written before the server stopped: delayed events,
    /// retries and times to live end as much earlier as the clock was set back. Returns that
    /// time, in microseconds; 0 if it was not.
    ///
    /// # Errors
    /// From the database; nothing was moved then.
    pub async fn heal_clock(&self) -> Result<i64> {
        if self.is_shared() {
            return Ok(0);
        }
        let now = self.now().await?;
        let noted = self.find_setting(CLOCK_SETTING).await?;
        let noted = noted.and_then(|noted| noted.parse().ok()).unwrap_or(0);
        let finished: Option<i64> = sqlx::query_scalar("SELECT MAX(finished_at) FROM executions")
            .fetch_one(self.reads())
            .await?;
        // The executions of the wrong clock stay in the log: they are believed once.
        let known = self.find_setting(HEALED_SETTING).await?;
        let known = known.and_then(|known| known.parse().ok()).unwrap_or(0);
        let finished = finished.filter(|finished| *finished > known);
        let last = finished.map_or(noted, |finished| finished.max(noted));
        let by_us = set_back_by(last, Duration::ZERO, now).unwrap_or(0);
        if by_us > 0 {
            self.write(Touches::Outbox, move |connection| {
                Box::pin(async move {
                    for statement in WRITTEN_AHEAD {
                        let update = sqlx::query(statement).bind(by_us).bind(now);
                        update.execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            })
            .await?;
            self.put_setting(HEALED_SETTING, &last.to_string(), now).await?;
            tracing::warn!(
                by_s = by_us / 1_000_000,
                "the clock was set back; what waits comes earlier"
            );
        }
        self.note_clock().await?;
        Ok(by_us)
    }

    async fn now(&self) -> Result<i64> {
        let query = AssertSqlSafe(format!("SELECT {}", self.inner.dialect.now()));
        Ok(sqlx::query_scalar(query).fetch_one(self.reads()).await?)
    }
}

/// Moves what was written at a time that has not come yet (`$2`), also what was in progress then.
/// It counts as written now, so that nothing is moved twice.
const WRITTEN_AHEAD: [&str; 2] = [
    "UPDATE outbox SET available_at = available_at - $1, created_at = MIN(created_at, $2), \
     last_attempt_at = MIN(last_attempt_at, $2) \
     WHERE available_at > $2 AND (created_at > $2 OR last_attempt_at > $2)",
    "UPDATE entries SET expires_at = expires_at - $1, updated_at = $2 \
     WHERE expires_at IS NOT NULL AND updated_at > $2",
];

/// By how much a clock was set back that showed `then` and, `elapsed` later, `now`.
fn set_back_by(then: i64, elapsed: Duration, now: i64) -> Option<i64> {
    let expected = then + i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX / 2);
    (expected - now > SET_BACK_US).then_some(expected - now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_is_noticed_and_one_that_was_set_forward_is_not() {
        let hour = 3_600_000_000;
        let second = Duration::from_secs(1);
        assert_eq!(set_back_by(hour, second, 1_000_000), Some(hour));
        assert_eq!(set_back_by(hour, second, hour + 1_000_000), None);
        assert_eq!(set_back_by(hour, second, hour - SET_BACK_US / 2), None);
        assert_eq!(set_back_by(0, second, hour), None);
    }
}
