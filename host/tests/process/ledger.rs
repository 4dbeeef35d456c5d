//! Reads the database directly, bypassing the server, and makes leases expire.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sqlx::{AnyConnection, Connection};

use crate::database::Database;

/// A separate connection to the database.
pub(crate) struct Ledger(AnyConnection);

impl Ledger {
    pub(crate) async fn open(database: &Database) -> Self {
        sqlx::any::install_default_drivers();
        Self(AnyConnection::connect(&database.plain_url).await.expect("a connection"))
    }

    /// Returns one number of an app.
    async fn number(&mut self, query: &'static str, app: &str) -> i64 {
        sqlx::query_scalar(query).bind(app).fetch_one(&mut self.0).await.expect("a number")
    }

    /// Returns the counts of names in an app.
    async fn counts(&mut self, query: &'static str, app: &str) -> BTreeMap<String, i64> {
        let query = sqlx::query_as::<_, (String, i64)>(query).bind(app);
        query.fetch_all(&mut self.0).await.expect("rows").into_iter().collect()
    }

    /// Returns the counters in a collection of an app.
    pub(crate) async fn counters(&mut self, app: &str, collection: &str) -> BTreeMap<String, i64> {
        let query = sqlx::query_as::<_, (String, i64)>(
            "SELECT e.name, CAST(e.value AS BIGINT) FROM entries e JOIN apps a ON a.id = e.app_id \
             WHERE a.name = $1 AND e.space = 'kv' AND e.collection = $2",
        );
        let rows = query.bind(app).bind(collection).fetch_all(&mut self.0).await;
        rows.expect("rows").into_iter().collect()
    }

    /// Waits, at most a minute, until a collection has a counter.
    pub(crate) async fn counted(&mut self, app: &str, collection: &str) {
        let begun = Instant::now();
        while self.counters(app, collection).await.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{app}: nothing has happened");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns the successful attempts at the events of an app.
    pub(crate) async fn successful_attempts(&mut self, app: &str) -> Vec<i64> {
        let query = "SELECT e.attempt FROM executions e JOIN apps a ON a.id = e.app_id \
                     WHERE a.name = $1 AND e.event_id IS NOT NULL AND e.status = 'success'";
        sqlx::query_scalar(query).bind(app).fetch_all(&mut self.0).await.expect("attempts")
    }

    /// Returns the number of executions of an app's events, by attempt.
    pub(crate) async fn attempts(&mut self, app: &str) -> BTreeMap<i64, i64> {
        let query = "SELECT e.attempt, COUNT(*) FROM executions e JOIN apps a ON a.id = e.app_id \
                     WHERE a.name = $1 AND e.event_id IS NOT NULL GROUP BY e.attempt";
        let rows = sqlx::query_as::<_, (i64, i64)>(query).bind(app).fetch_all(&mut self.0).await;
        rows.expect("rows").into_iter().collect()
    }

    /// Returns the total number of attempts of an app's dead letters.
    pub(crate) async fn attempts_of_dead_letters(&mut self, app: &str) -> i64 {
        let query = "SELECT CAST(SUM(d.attempts) AS BIGINT) FROM dead_letters d \
                     JOIN apps a ON a.id = d.app_id WHERE a.name = $1";
        self.number(query, app).await
    }

    /// Returns how often each event of an app has succeeded, without those of schedules and
    /// wake-ups, which are not sent one by one.
    pub(crate) async fn successes(&mut self, app: &str) -> BTreeMap<String, i64> {
        self.counts(
            "SELECT e.event_id, COUNT(*) FROM executions e JOIN apps a ON a.id = e.app_id \
             WHERE a.name = $1 AND e.event_id IS NOT NULL AND e.status = 'success' \
             AND e.script_name NOT IN ('tick', 'woken') GROUP BY e.event_id",
            app,
        )
        .await
    }

    /// Waits, at most a minute, until an event of an app was claimed at least twice.
    pub(crate) async fn begun_again(&mut self, app: &str) {
        let begun = Instant::now();
        let query = "SELECT COUNT(*) FROM outbox o JOIN apps a ON a.id = o.app_id \
                     WHERE a.name = $1 AND o.last_attempt_at > o.first_attempt_at";
        while self.number(query, app).await == 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{app}: no event was retried");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns the number of open events of an app, without those that have no script.
    pub(crate) async fn open_events(&mut self, app: &str) -> i64 {
        self.number(
            "SELECT COUNT(*) FROM outbox o JOIN apps a ON a.id = o.app_id \
             WHERE a.name = $1 AND o.script_id IS NOT NULL",
            app,
        )
        .await
    }

    async fn open_events_but(&mut self, app: &str, script: &str) -> i64 {
        let query = sqlx::query_scalar(
            "SELECT COUNT(*) FROM outbox o JOIN apps a ON a.id = o.app_id \
             LEFT JOIN scripts s ON s.id = o.script_id WHERE a.name = $1 \
             AND o.script_id IS NOT NULL AND (s.name IS NULL OR s.name <> $2)",
        );
        query.bind(app).bind(script).fetch_one(&mut self.0).await.expect("a number")
    }

    /// Waits until every event of an app is done, as long as there is progress at least once a
    /// minute.
    pub(crate) async fn settled(&mut self, app: &str) {
        self.settled_but(app, "").await;
    }

    /// Like [`Ledger::settled`], but ignores a script that gets events all the time.
    pub(crate) async fn settled_but(&mut self, app: &str, script: &str) {
        let (mut begun, mut left) = (Instant::now(), i64::MAX);
        loop {
            let open = self.open_events_but(app, script).await;
            if open == 0 {
                return;
            }
            if open < left {
                (begun, left) = (Instant::now(), open);
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{open} events are never done");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns the number of an app's dead letters, by resolution.
    pub(crate) async fn dead_letters(&mut self, app: &str) -> BTreeMap<String, i64> {
        self.counts(
            "SELECT COALESCE(d.resolution, 'unresolved') AS resolution, COUNT(*) \
             FROM dead_letters d JOIN apps a ON a.id = d.app_id \
             WHERE a.name = $1 GROUP BY 1",
            app,
        )
        .await
    }

    /// Returns the counters of an app's effects that are not 1.
    pub(crate) async fn wrong_counters(&mut self, app: &str) -> BTreeMap<String, i64> {
        self.counts(
            "SELECT e.name, CAST(e.value AS BIGINT) FROM entries e JOIN apps a ON a.id = e.app_id \
             WHERE a.name = $1 AND e.space = 'kv' AND e.collection IN ('effects', 'told') \
             AND e.value <> '1'",
            app,
        )
        .await
    }

    /// Waits, at most a minute, until all current claims have expired or were replaced.
    pub(crate) async fn leases_have_run_out(&mut self) {
        let leased = "SELECT id, attempt FROM outbox WHERE lease_token IS NOT NULL";
        let claims = async |connection: &mut AnyConnection| -> BTreeSet<(String, i64)> {
            let rows = sqlx::query_as(leased).fetch_all(connection).await.expect("claims");
            rows.into_iter().collect()
        };
        let now = claims(&mut self.0).await;
        let begun = Instant::now();
        while !claims(&mut self.0).await.is_disjoint(&now) {
            assert!(begun.elapsed() < Duration::from_secs(60), "leases never expire");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether a server has an open transaction with a change or a lock, and is idle; on
    /// PostgreSQL.
    pub(crate) async fn holds_a_lock(&mut self) -> bool {
        let query = "SELECT COUNT(*) FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid \
                     WHERE a.datname = $1 AND a.state = 'idle in transaction' \
                     AND l.locktype = 'transactionid' AND l.granted";
        let name: String = sqlx::query_scalar("SELECT CAST(current_database() AS TEXT)")
            .fetch_one(&mut self.0)
            .await
            .expect("a name");
        let held: i64 =
            sqlx::query_scalar(query).bind(name).fetch_one(&mut self.0).await.expect("a number");
        held > 0
    }

    /// Makes leases expire at once: every leased event can be claimed again.
    pub(crate) async fn let_leases_run_out(&mut self) -> u64 {
        let query = "UPDATE outbox SET lease_token = NULL, leased_until = NULL \
                     WHERE lease_token IS NOT NULL";
        sqlx::query(query).execute(&mut self.0).await.expect("an update").rows_affected()
    }
}
