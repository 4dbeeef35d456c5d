//! Claims due events, extends their leases, and recovers events with expired leases.
//!
//! Apps take turns: one statement finds the apps with due events without reading all their events,
//! and each app gets its share of a claim.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::{AnyConnection, AssertSqlSafe, FromRow};

use super::{Event, Places, SCRIPT_NOW};
use crate::store::dialect::Dialect;
use crate::store::revision::STORED_REVISION;
use crate::store::signals::Touches;
use crate::store::{AppId, COUNTED_MAX, EventId, Result, Store, bulk};

/// The last error of an event whose lease expired.
pub const NO_END: &str =
    "the attempt did not finish: the host or the database went down while the script ran";

/// The maximum number of apps served by one claim; later claims serve the others.
const APPS_MAX: usize = 32;

/// A claim of an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The event.
    pub event_id: EventId,
    /// The number of the attempt.
    pub attempt: i64,
    /// The token of the claim.
    pub token: String,
}

/// The parameters of a claim.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The token of this claim.
    pub token: String,
    /// The duration of the lease, µs.
    pub lease_us: i64,
    /// The maximum number of events.
    pub events_max: i64,
    /// The places for running events; they limit the events of each app.
    pub places: Arc<Places>,
    /// The app after which to begin, so that all apps get their turn.
    pub after_app: Option<AppId>,
    /// When the attempts begin, µs.
    pub at: i64,
}

/// The result of a claim.
#[derive(Debug, Clone, Default)]
pub struct Claimed {
    /// The claimed events, with their attempt counted.
    pub events: Vec<Event>,
    /// The microseconds until more can be claimed: 0 if more events are due, `None` if none are
    /// pending.
    pub next_in_us: Option<i64>,
    /// The last app that was served.
    pub last_app: Option<AppId>,
    /// The apps that have more due events than their places allow.
    pub capped: Vec<AppId>,
}

/// An app with pending events, and when the first of them is due.
#[derive(FromRow)]
struct WaitingApp {
    app_id: AppId,
    available_at: i64,
    /// 1 if a trigger has released messages that are still assigned to it.
    is_moving: i64,
}

impl Store {
    /// Claims due events and events with expired leases; none while the disk is full.
    pub async fn claim_events(&self, claim: Claim) -> Result<Claimed> {
        if self.check_room().is_err() {
            return Ok(Claimed::default());
        }
        let dialect = self.inner.dialect;
        self.follow_clock().await?;
        self.write(Touches::Records, move |connection| {
            Box::pin(async move { run(connection, dialect, claim).await })
        })
        .await
    }

    /// Returns the microseconds until an event can be claimed: 0 if one is due, `None` if none are
    /// pending. Executes one statement on a read connection.
    pub async fn next_event_in(&self) -> Result<Option<i64>> {
        let query = look_query(self.inner.dialect);
        let (_, next, _): (i64, Option<i64>, i64) =
            sqlx::query_as(AssertSqlSafe(query)).fetch_one(self.reads()).await?;
        Ok(next.map(|us| us.max(0)))
    }

    /// Extends the leases of claimed events to `lease_us` microseconds from now. Events with
    /// another token are unchanged.
    pub async fn extend_leases(
        &self,
        token: String,
        events: Vec<EventId>,
        lease_us: i64,
    ) -> Result<()> {
        let dialect = self.inner.dialect;
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let query = format!(
                    "UPDATE outbox SET leased_until = {} + $2 WHERE lease_token = $3 \
                     AND id IN (SELECT r.value->>0 FROM {})",
                    dialect.now(),
                    dialect.rows()
                );
                let rows: Vec<_> = events.iter().map(|id| (id,)).collect();
                sqlx::query(AssertSqlSafe(query))
                    .bind(bulk::json(&rows)?)
                    .bind(lease_us)
                    .bind(token)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Releases a claimed event whose run did not begin: the attempt is not counted, and the event
    /// is due again in `delay_us` microseconds. `false` if the lease was lost.
    pub async fn release_event(&self, lease: Lease, delay_us: i64) -> Result<bool> {
        let dialect = self.inner.dialect;
        self.write(Touches::Outbox, move |connection| {
            Box::pin(async move {
                let query = format!(
                    "UPDATE outbox SET attempt = attempt - 1, lease_token = NULL, \
                     leased_until = NULL, available_at = {} + $1 \
                     WHERE id = $2 AND attempt = $3 AND lease_token = $4",
                    dialect.now()
                );
                let done = sqlx::query(AssertSqlSafe(query))
                    .bind(delay_us)
                    .bind(lease.event_id)
                    .bind(lease.attempt)
                    .bind(lease.token)
                    .execute(connection)
                    .await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Releases every lease of a previous process. Used at the start on SQLite, where no other
    /// process uses the database. Does nothing on a shared database, where leases expire.
    pub async fn release_orphans(&self) -> Result<u64> {
        if self.inner.dialect.is_shared() {
            return Ok(0);
        }
        self.write(Touches::Outbox, move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE outbox SET lease_token = NULL, leased_until = NULL, last_error = $1 \
                     WHERE lease_token IS NOT NULL",
                )
                .bind(NO_END)
                .execute(connection)
                .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }
}

async fn run(connection: &mut AnyConnection, dialect: Dialect, claim: Claim) -> Result<Claimed> {
    let now: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT {}", dialect.now())))
        .fetch_one(&mut *connection)
        .await?;
    let mut lease_ends = first_lease_end(connection).await?;
    if lease_ends.is_some_and(|at| at <= now) {
        release_expired(connection, dialect, now).await?;
        lease_ends = first_lease_end(connection).await?;
    }
    let mut apps = waiting_apps(connection).await?;
    let is_capped =
        |app: &WaitingApp| app.available_at <= now && claim.places.room_of(&app.app_id) == 0;
    let mut capped: Vec<_> =
        apps.extract_if(.., |app| is_capped(app)).map(|app| app.app_id).collect();
    let mut next_at = apps.iter().map(|app| app.available_at).min();
    apps.retain(|app| app.available_at <= now);
    if let Some(after) = &claim.after_app {
        let start = apps.partition_point(|app| app.app_id <= *after);
        apps.rotate_left(start);
    }
    apps.truncate(APPS_MAX);

    let mut claimed =
        Claimed { last_app: apps.last().map(|app| app.app_id.clone()), ..Claimed::default() };
    let mut taken: BTreeMap<AppId, usize> = BTreeMap::new();
    let count = apps.len();
    for (served, app) in apps.into_iter().enumerate() {
        let free = claim.events_max - claimed.events.len() as i64;
        // An app's unused share goes to the apps after it.
        let share = (free / (count - served) as i64).max(1).min(free);
        let room = claim.places.room_of(&app.app_id);
        let share = share.min(i64::try_from(room).unwrap_or(i64::MAX));
        let events = if app.is_moving == 0 {
            take(connection, dialect, &claim, &app.app_id, share, now).await?
        } else {
            take_but_moving(connection, dialect, &claim, &app.app_id, share, now).await?
        };
        taken.insert(app.app_id, room.saturating_sub(events.len()));
        claimed.events.extend(events);
    }
    if !claimed.events.is_empty() {
        // Events that followed the first ones of the served apps.
        let left = waiting_apps(connection).await?;
        let has_room = |app: &&WaitingApp| {
            let room = taken.get(&app.app_id).copied();
            app.available_at > now || room.unwrap_or_else(|| claim.places.room_of(&app.app_id)) > 0
        };
        capped.extend(left.iter().filter(|app| !has_room(app)).map(|app| app.app_id.clone()));
        next_at = left.iter().filter(has_room).map(|app| app.available_at).min();
        let own = now + claim.lease_us;
        lease_ends = Some(lease_ends.map_or(own, |at| at.min(own)));
    }
    let next = [next_at, lease_ends].into_iter().flatten().min();
    claimed.next_in_us = next.map(|at| (at - now).max(0));
    claimed.capped = capped;
    Ok(claimed)
}

async fn first_lease_end(connection: &mut AnyConnection) -> Result<Option<i64>> {
    let query = "SELECT MIN(leased_until) FROM outbox WHERE lease_token IS NOT NULL";
    Ok(sqlx::query_scalar(query).fetch_one(connection).await?)
}

/// Releases events with expired leases.
async fn release_expired(connection: &mut AnyConnection, dialect: Dialect, now: i64) -> Result<()> {
    let query = format!(
        "UPDATE outbox SET lease_token = NULL, leased_until = NULL, last_error = $2 WHERE id IN \
         (SELECT id FROM outbox WHERE lease_token IS NOT NULL AND leased_until <= $1{})",
        dialect.skip_locked()
    );
    sqlx::query(AssertSqlSafe(query)).bind(now).bind(NO_END).execute(connection).await?;
    Ok(())
}

/// Selects every app with pending events, by id. Each step looks only for the next app and its
/// first event, so a million events of one app cost nothing extra.
const WAITING: &str = "waiting (app_id) AS ( \
        SELECT MIN(app_id) FROM outbox WHERE lease_token IS NULL AND script_id IS NOT NULL \
        UNION ALL \
        SELECT (SELECT MIN(o.app_id) FROM outbox o WHERE o.lease_token IS NULL \
            AND o.script_id IS NOT NULL AND o.app_id > waiting.app_id) \
        FROM waiting WHERE waiting.app_id IS NOT NULL)";

/// Selects the apps of [`WAITING`] that are not deleted, when the first event of each is due, and
/// whether its messages are being moved.
const WAITING_APPS: &str = "SELECT app_id, (SELECT MIN(o.available_at) FROM outbox o \
        WHERE o.lease_token IS NULL AND o.script_id IS NOT NULL AND o.app_id = waiting.app_id) \
        AS available_at, (SELECT COUNT(*) FROM (SELECT 1 FROM message_moves m \
        WHERE m.app_id = waiting.app_id AND m.trigger_id <> '' LIMIT 1) AS m) AS is_moving \
        FROM waiting WHERE app_id IS NOT NULL AND NOT EXISTS \
        (SELECT 1 FROM apps a WHERE a.id = waiting.app_id AND a.deleted_at IS NOT NULL)";

/// Returns a query for the revision of the definitions, the microseconds until an event can be
/// claimed, and the database's time.
pub(in crate::store) fn look_query(dialect: Dialect) -> String {
    format!(
        "WITH RECURSIVE {WAITING} SELECT ({STORED_REVISION}), MIN(at) - {now}, {now} \
         FROM (SELECT available_at AS at FROM ({WAITING_APPS}) AS w \
         UNION ALL SELECT MIN(leased_until) FROM outbox WHERE lease_token IS NOT NULL) AS n",
        now = dialect.now()
    )
}

/// Returns a query for the numbers of pending and running events, at most [`COUNTED_MAX`] each, and
/// the due time of the oldest due event.
pub(in crate::store) fn facts_query(dialect: Dialect) -> String {
    let count = |condition: &str| {
        format!(
            "(SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE {condition} LIMIT {COUNTED_MAX}) AS c)"
        )
    };
    format!(
        "WITH RECURSIVE {WAITING} SELECT {} AS waiting, {} AS running, \
         (SELECT MIN(available_at) FROM ({WAITING_APPS}) AS w WHERE available_at <= {now}) \
         AS oldest_due_at, {now} AS read_at",
        // Uses two indexes, because messages without a script have their own.
        count(
            "lease_token IS NULL AND script_id IS NOT NULL UNION ALL \
             SELECT 1 FROM outbox WHERE lease_token IS NULL AND script_id IS NULL",
        ),
        count("lease_token IS NOT NULL"),
        now = dialect.now()
    )
}

async fn waiting_apps(connection: &mut AnyConnection) -> Result<Vec<WaitingApp>> {
    let query = format!("WITH RECURSIVE {WAITING} {WAITING_APPS}");
    Ok(sqlx::query_as(AssertSqlSafe(query)).fetch_all(connection).await?)
}

/// The maximum number of events examined while messages of the app are being moved.
const MOVING_LOOK_MAX: i64 = 500;

/// Claims due events of an app whose trigger has released messages. Released messages return to
/// their queue instead. Returns fewer than `share` events while there are many of them.
async fn take_but_moving(
    connection: &mut AnyConnection,
    dialect: Dialect,
    claim: &Claim,
    app_id: &AppId,
    share: i64,
    now: i64,
) -> Result<Vec<Event>> {
    let due = format!(
        "SELECT id, CAST(CASE WHEN kind = 'queue' AND EXISTS (SELECT 1 FROM message_moves m \
         WHERE m.app_id = o.app_id AND m.queue = o.source AND m.trigger_id = o.trigger_id) \
         THEN 1 ELSE 0 END AS BIGINT) FROM outbox o WHERE app_id = $1 AND lease_token IS NULL \
         AND script_id IS NOT NULL AND available_at <= $2 ORDER BY available_at, id LIMIT $3{}",
        dialect.skip_locked()
    );
    let due: Vec<(EventId, i64)> = sqlx::query_as(AssertSqlSafe(due))
        .bind(app_id)
        .bind(now)
        .bind(share.max(MOVING_LOOK_MAX))
        .fetch_all(&mut *connection)
        .await?;
    let (moving, due): (Vec<_>, Vec<_>) = due.iter().partition(|(_, moving)| *moving != 0);
    let moving: Vec<_> = moving.iter().map(|(id, _)| (id,)).collect();
    let release = format!(
        "UPDATE outbox SET trigger_id = NULL, script_id = NULL \
         WHERE id IN (SELECT r.value->>0 FROM {})",
        dialect.rows()
    );
    bulk::run(connection, release, &moving).await?;
    let share = usize::try_from(share).unwrap_or(0);
    let due: Vec<_> = due.iter().take(share).map(|(id, _)| (id,)).collect();
    let ids = format!("SELECT r.value->>0 FROM {}", dialect.rows());
    let query = sqlx::query_as(AssertSqlSafe(take_statement(&ids)));
    let query = query.bind(bulk::json(&due)?).bind(now + claim.lease_us);
    taken(query.bind(&claim.token).bind(claim.at).fetch_all(connection).await?)
}

async fn take(
    connection: &mut AnyConnection,
    dialect: Dialect,
    claim: &Claim,
    app_id: &AppId,
    share: i64,
    now: i64,
) -> Result<Vec<Event>> {
    let due = format!(
        "SELECT id FROM outbox WHERE app_id = $1 AND lease_token IS NULL \
         AND script_id IS NOT NULL AND available_at <= $5 ORDER BY available_at, id LIMIT $6{}",
        dialect.skip_locked()
    );
    let query = sqlx::query_as(AssertSqlSafe(take_statement(&due)));
    let query = query.bind(app_id).bind(now + claim.lease_us).bind(&claim.token).bind(claim.at);
    taken(query.bind(now).bind(share).fetch_all(connection).await?)
}

/// Claims the events whose `ids` are selected. A message runs the script that its trigger points to
/// now. The dedupe key is freed: the run that begins might not see changes made from now on.
fn take_statement(ids: &str) -> String {
    format!(
        "UPDATE outbox SET attempt = attempt + 1, leased_until = $2, lease_token = $3, \
         last_attempt_at = $4, first_attempt_at = COALESCE(first_attempt_at, $4), \
         dedupe_key = NULL, script_id = CASE WHEN kind = 'queue' THEN COALESCE({SCRIPT_NOW}, \
         script_id) ELSE script_id END WHERE id IN ({ids}) RETURNING *"
    )
}

/// Sorts the events, because RETURNING has no order.
fn taken(mut events: Vec<Event>) -> Result<Vec<Event>> {
    events.sort_by(|a, b| (a.available_at, &a.id).cmp(&(b.available_at, &b.id)));
    Ok(events)
}
