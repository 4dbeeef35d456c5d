//! Dead letters: events that were given up, stored with everything needed to retry them.
//!
//! ```text
//!  bury ─▶ unresolved ─┬─ replay ─▶ replayed: its event is in the outbox again
//!                      ├─ resolve ─▶ ignored
//!                      └─ run a handler script ─┬─▶ handled_by_script
//!                                               └─▶ handler_failed
//! ```
//!
//! An ignored dead letter, or one whose handler failed, can still be replayed. A replayed dead
//! letter cannot be replayed again.

use sqlx::{AnyConnection, AssertSqlSafe, FromRow};

use super::bulk::{self, bulk_row};
use super::dialect::Dialect;
use super::listing::{Listing, Table};
use super::outbox::{self, NewEvent};
use super::remains::OF_AN_APP;
use super::signals::Touches;
use super::{
    AppId, Conflict, DeadLetterId, Error, EventId, Excerpt, Json, Listed, Part, Resolution,
    Resource, Result, ScriptId, Store, TriggerId, TriggerKind, excerpt,
};
use crate::named::UnknownName;

const DEAD_LETTERS: Table = Table { name: "dead_letters", at: "created_at", id: "id" };

/// A dead letter as stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DeadLetter {
    /// The id.
    pub id: DeadLetterId,
    /// The app it belongs to.
    pub app_id: AppId,
    /// The event.
    pub event_id: EventId,
    /// The trigger that created the event.
    pub trigger_id: Option<TriggerId>,
    /// The script that failed.
    pub script_id: ScriptId,
    /// The script's name at that time.
    pub script_name: String,
    /// The version that failed last.
    pub script_version: i64,
    /// The kind of event.
    #[sqlx(try_from = "String")]
    pub kind: TriggerKind,
    /// The operation that the event reports.
    pub operation: String,
    /// The queue, topic, collection or bucket.
    pub source: String,
    /// The details of the event, a JSON object.
    pub payload: Json,
    /// The principal the script ran as.
    pub principal: String,
    /// The length of the chain of events that led to this one.
    pub depth: i64,
    /// The number of attempts.
    pub attempts: i64,
    /// When the first attempt began, µs.
    pub first_attempt_at: i64,
    /// When the last attempt began, µs.
    pub last_attempt_at: i64,
    /// The error of the last attempt.
    pub last_error: String,
    /// How the dead letter was resolved; `None` while it is unresolved.
    #[sqlx(try_from = "ResolutionColumn")]
    pub resolution: Option<Resolution>,
    /// When it was resolved, µs.
    pub resolved_at: Option<i64>,
    /// When the event was accepted, µs.
    pub event_created_at: i64,
    /// When the event was given up, µs.
    pub created_at: i64,
}

/// The name of a resolution; NULL while unresolved.
#[derive(sqlx::Type)]
#[sqlx(transparent)]
struct ResolutionColumn(Option<String>);

impl TryFrom<ResolutionColumn> for Option<Resolution> {
    type Error = UnknownName;

    fn try_from(column: ResolutionColumn) -> Result<Self, UnknownName> {
        column.0.map(Resolution::try_from).transpose()
    }
}

bulk_row! { DeadLetter {
    id: Text,
    app_id: Text,
    event_id: Text,
    trigger_id: Text,
    script_id: Text,
    script_name: Text,
    script_version: Number,
    kind: Text,
    operation: Text,
    source: Text,
    payload: Text,
    principal: Text,
    depth: Number,
    attempts: Number,
    first_attempt_at: Number,
    last_attempt_at: Number,
    last_error: Text,
    resolution: Text,
    resolved_at: Number,
    event_created_at: Number,
    created_at: Number,
}}

/// Returns the statement that inserts many rows.
pub(super) fn insert_statement(dialect: Dialect) -> String {
    bulk::insert_statement::<DeadLetter>(dialect, "dead_letters", "ON CONFLICT (id) DO NOTHING")
}

/// A filter of an app's dead letters.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Only unresolved dead letters.
    pub unresolved: bool,
    /// Only events of this kind.
    pub kind: Option<TriggerKind>,
    /// Only events of this script.
    pub script_id: Option<ScriptId>,
    /// Only events of this trigger.
    pub trigger_id: Option<TriggerId>,
}

/// Returns the matching dead letters as a list, newest first.
fn listing(app_id: &AppId, filter: &DeadLetterFilter) -> Listing {
    let mut listing = Listing::of(DEAD_LETTERS);
    if filter.unresolved {
        listing = listing.found_where("resolution IS NULL");
    }
    let filters = [
        ("trigger_id", filter.trigger_id.as_ref().map(TriggerId::as_str)),
        ("script_id", filter.script_id.as_ref().map(ScriptId::as_str)),
    ];
    let (app, kind) = (app_id.as_str(), filter.kind.map(TriggerKind::as_str));
    if filters.iter().any(|(_, value)| value.is_some()) {
        listing = listing.found_by_first(&filters, ("app_id", Some(app)));
        return kind.into_iter().fold(listing, |listing, kind| listing.sifted("kind", kind));
    }
    let listing = listing.found("app_id =", app);
    kind.into_iter().fold(listing, |listing, kind| listing.found("kind =", kind))
}

impl Store {
    /// Returns the dead letter with this id. Errors: `NotFound(DeadLetter)`.
    pub async fn find_dead_letter(&self, id: &DeadLetterId) -> Result<DeadLetter> {
        let query = format!("SELECT * FROM dead_letters WHERE id = $1 AND {OF_AN_APP}");
        sqlx::query_as(AssertSqlSafe(query))
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::DeadLetter))
    }

    /// Lists the app's dead letters, newest first. Large payloads are omitted.
    pub async fn list_dead_letters(
        &self,
        app_id: &AppId,
        filter: &DeadLetterFilter,
        part: impl Into<Part>,
    ) -> Result<Listed<Excerpt<DeadLetter>>> {
        let columns = format!(
            "id, app_id, event_id, trigger_id, script_id, script_name, script_version, \
             kind, operation, source, {}, principal, depth, attempts, first_attempt_at, \
             last_attempt_at, last_error, resolution, resolved_at, event_created_at, created_at",
            excerpt::columns("payload")
        );
        let mut connection = self.reads().acquire().await?;
        listing(app_id, filter).fetch(&mut connection, &columns, &part.into()).await
    }

    /// Returns the number of matching dead letters, at most [`super::COUNTED_MAX`].
    pub async fn count_dead_letters(
        &self,
        app_id: &AppId,
        filter: &DeadLetterFilter,
    ) -> Result<i64> {
        let mut connection = self.reads().acquire().await?;
        listing(app_id, filter).count(&mut connection).await
    }

    /// Replays a dead letter: enqueues its event again, as `event`.
    ///
    /// Errors: `NotFound(DeadLetter)`; `Conflict(Resolved)` if it was already replayed;
    /// `Conflict(ScriptDeleted)` if the script does not exist.
    pub async fn replay_dead_letter(&self, id: &DeadLetterId, event: NewEvent) -> Result<()> {
        let id = id.clone();
        let dialect = self.inner.dialect;
        self.write(Touches::Outbox, move |connection| {
            Box::pin(async move {
                if !has_target(connection, &event).await? {
                    return Err(Error::Conflict(Conflict::ScriptDeleted));
                }
                resolve(connection, &id, Resolution::Replayed, event.created_at).await?;
                outbox::append(connection, dialect, &[event]).await?;
                Ok(())
            })
        })
        .await
    }

    /// Marks a dead letter as ignored.
    ///
    /// Errors: `NotFound(DeadLetter)`; `Conflict(Resolved)` if it was already replayed.
    pub async fn ignore_dead_letter(&self, id: &DeadLetterId, at: i64) -> Result<()> {
        let id = id.clone();
        self.write(Touches::Records, move |connection| {
            Box::pin(async move { resolve(connection, &id, Resolution::Ignored, at).await })
        })
        .await
    }

    /// Deletes at most `limit` dead letters older than `at` (µs), oldest first.
    pub async fn delete_dead_letters_before(&self, at: i64, limit: i64) -> Result<u64> {
        self.delete_before("dead_letters", "id", at, limit).await
    }

    /// Deletes at most `limit` abandoned executions older than `at` (µs).
    pub async fn delete_abandoned_executions_before(&self, at: i64, limit: i64) -> Result<u64> {
        self.delete_before("abandoned_executions", "execution_id", at, limit).await
    }

    /// Deletes at most `limit` idempotency keys older than `at` (µs).
    pub async fn delete_idempotency_keys_before(&self, at: i64, limit: i64) -> Result<u64> {
        self.delete_before("idempotency_keys", "event_id", at, limit).await
    }

    async fn delete_before(
        &self,
        table: &'static str,
        key: &'static str,
        at: i64,
        limit: i64,
    ) -> Result<u64> {
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let query = format!(
                    "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} \
                     WHERE created_at < $1 ORDER BY created_at LIMIT $2)"
                );
                let done = sqlx::query(AssertSqlSafe(query))
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

/// Whether the event's script exists, in the version that the event names.
async fn has_target(connection: &mut AnyConnection, event: &NewEvent) -> Result<bool> {
    let query = match event.script_version {
        Some(_) => "SELECT 1 FROM script_versions WHERE script_id = $1 AND version = $2",
        None => "SELECT 1 FROM scripts WHERE id = $1 AND $2 IS NULL",
    };
    let query = sqlx::query(query).bind(&event.script_id).bind(event.script_version);
    Ok(query.fetch_optional(connection).await?.is_some())
}

async fn resolve(
    connection: &mut AnyConnection,
    id: &DeadLetterId,
    resolution: Resolution,
    at: i64,
) -> Result<()> {
    let done = sqlx::query(
        "UPDATE dead_letters SET resolution = $2, resolved_at = $3 WHERE id = $1 \
         AND (resolution IS NULL OR resolution IN ('ignored', 'handler_failed', 'handled_by_script'))",
    )
    .bind(id)
    .bind(resolution.as_str())
    .bind(at)
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    let there = sqlx::query("SELECT 1 FROM dead_letters WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    Err(match there {
        Some(_) => Error::Conflict(Conflict::Resolved),
        None => Error::NotFound(Resource::DeadLetter),
    })
}
