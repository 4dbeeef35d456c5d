//! Corrects stored times when the machine's clock was wrong.
//!
//! SQLite uses the machine's clock. PostgreSQL uses the clock of its server, which is not corrected
//! here.
//!
//! ```text
//!  set back while the server runs ──▶ due times and leases move back with it
//!  set back while it did not run  ──▶ times written ahead of the new clock
//!                                     move back
//!  set forward                    ──▶ nothing: overdue events run now
//! ```

use std::sync::PoisonError;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use tokio::time::Instant;

use super::signals::Touches;
use super::{Result, Store};

/// A clock that is set back by less than this is ignored.
const SET_BACK_US: i64 = 5_000_000;

/// The setting that stores the clock's time at the server's last look.
const CLOCK_SETTING: &str = "clock_at";
/// The setting that stores the last time shown by a clock that was ahead.
const HEALED_SETTING: &str = "clock_was_ahead_until";

impl Store {
    /// Detects that the machine's clock was set back, and moves all due times with it: an event
    /// that was due in a minute is still due in a minute. A clock that was set forward, or a
    /// machine that slept, delays nothing and needs no correction.
    ///
    /// Does nothing on a shared database, whose clock is the server's.
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

    /// Moves all due times and lease ends back by `by_us` microseconds.
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

    /// Stores the clock's time for [`Store::heal_clock`] at the next start.
    ///
    /// # Errors
    /// Errors of the database.
    pub async fn note_clock(&self) -> Result<()> {
        if self.is_shared() {
            return Ok(());
        }
        let now = self.now().await?;
        self.put_setting(CLOCK_SETTING, &now.to_string(), now).await
    }

    /// Moves back the times that were written by a clock ahead of now, before the server stopped:
    /// delayed events, retries and times to live end earlier by the amount the clock was set back.
    /// Returns that amount in microseconds; 0 if the clock was not set back.
    ///
    /// # Errors
    /// Errors of the database; no time was moved then.
    pub async fn heal_clock(&self) -> Result<i64> {
        if self.is_shared() {
            return Ok(0);
        }
        let now = self.now().await?;
        let noted = self.find_setting(CLOCK_SETTING).await?;
        let noted = noted.and_then(|noted| noted.parse().ok()).unwrap_or(0);
        let finished = "SELECT MAX(at) FROM (SELECT MAX(finished_at) AS at FROM executions \
             UNION ALL SELECT MAX(last_finished_at) FROM execution_blocks) AS finished";
        let finished: Option<i64> = sqlx::query_scalar(finished).fetch_one(self.reads()).await?;
        // Executions logged by the wrong clock stay in the log, so each is considered only once.
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
                "the clock was set back; pending events are due earlier"
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

/// Moves times that were written by a clock ahead of now (`$2`), including those of running events.
/// The rows then count as written now, so that nothing moves twice.
const WRITTEN_AHEAD: [&str; 2] = [
    "UPDATE outbox SET available_at = available_at - $1, created_at = MIN(created_at, $2), \
     last_attempt_at = MIN(last_attempt_at, $2) \
     WHERE available_at > $2 AND (created_at > $2 OR last_attempt_at > $2)",
    "UPDATE entries SET expires_at = expires_at - $1, updated_at = $2 \
     WHERE expires_at IS NOT NULL AND updated_at > $2",
];

/// Returns by how much a clock was set back, if it showed `then` and, `elapsed` later, `now`.
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
