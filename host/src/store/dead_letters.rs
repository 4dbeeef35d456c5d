//! Dead letters: events that were given up, with everything that is needed to try
//! them again.
//!
//! ```text
//!  bury ─▶ unresolved ─┬─ replay ─▶ replayed: its event is in the outbox anew
//!                      ├─ resolve ─▶ ignored
//!                      └─ a script listened ─┬─▶ handled_by_script
//!                                            └─▶ handler_failed
//! ```
//!
//! A dead letter that was ignored, or whose handler failed, can still be replayed;
//! one that was replayed cannot be replayed again.

use sqlx::{AnyConnection, AssertSqlSafe, FromRow};

use super::bulk::{self, bulk_row};
use super::dialect::Dialect;
use super::listing::{Listing, Table};
use super::outbox::{self, NewEvent};
use super::remains::OF_AN_APP;
use super::signals::Touches;
use super::{
    AppId, Conflict, DeadLetterId, Error, EventId, Excerpt, Json, Listed, Part, Resolution,
    Resource, Result, ScriptId, Store, TriggerId, TriggerKind, UnknownName, excerpt,
};

const DEAD_LETTERS: Table = Table { name: "dead_letters", at: "created_at", id: "id" };

/// An event that was given up.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// The app that it belongs to.
    pub app_id: AppId,
    /// The event.
    pub event_id: EventId,
    /// The trigger that it came by.
    pub trigger_id: Option<TriggerId>,
    /// The script that failed.
    pub script_id: ScriptId,
    /// Its name at that time.
    pub script_name: String,
    /// The version that failed last.
    pub script_version: i64,
    /// What kind of event it was.
    #[sqlx(try_from = "String")]
    pub kind: TriggerKind,
    /// What had happened.
    pub operation: String,
    /// The queue, topic, collection or bucket.
    pub source: String,
    /// The details, an object.
    pub payload: Json,
    /// As whom the script ran.
    pub principal: String,
    /// How many events led to it.
    pub depth: i64,
    /// How often it was attempted.
    pub attempts: i64,
    /// When the first attempt began, µs.
    pub first_attempt_at: i64,
    /// When the last attempt began, µs.
    pub last_attempt_at: i64,
    /// Why the last attempt failed.
    pub last_error: String,
    /// What has become of it.
    #[sqlx(try_from = "ResolutionColumn")]
    pub resolution: Option<Resolution>,
    /// When that was, µs.
    pub resolved_at: Option<i64>,
    /// When the event was accepted, µs.
    pub event_created_at: i64,
    /// When it was given up, µs.
    pub created_at: i64,
}

/// A name, or none yet.
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

/// Inserts many.
pub(super) fn insert_statement(dialect: Dialect) -> String {
    bulk::insert_statement::<DeadLetter>(dialect, "dead_letters", "ON CONFLICT (id) DO NOTHING")
}

/// Which dead letters of an app.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Only those that nothing has become of yet.
    pub unresolved: bool,
    /// Only events of this kind.
    pub kind: Option<TriggerKind>,
    /// Only events of this script.
    pub script_id: Option<ScriptId>,
    /// Only events by this trigger.
    pub trigger_id: Option<TriggerId>,
}

/// What fits, newest first.
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
    /// Errors: `NotFound(DeadLetter)`.
    pub async fn find_dead_letter(&self, id: &DeadLetterId) -> Result<DeadLetter> {
        let query = format!("SELECT * FROM dead_letters WHERE id = $1 AND {OF_AN_APP}");
        sqlx::query_as(AssertSqlSafe(query))
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::DeadLetter))
    }

    /// The app's dead letters, newest first. Large payloads are left out.
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

    /// How many there are; [`super::COUNTED_MAX`] stands for that and more.
    pub async fn count_dead_letters(
        &self,
        app_id: &AppId,
        filter: &DeadLetterFilter,
    ) -> Result<i64> {
        let mut connection = self.reads().acquire().await?;
        listing(app_id, filter).count(&mut connection).await
    }

    /// Enqueues the event of a dead letter anew, as `event`.
    ///
    /// Errors: `NotFound(DeadLetter)`; `Conflict(Resolved)` if it was replayed before,
    /// `Conflict(ScriptDeleted)` if there is nothing to run.
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

    /// Leaves a dead letter as it is, and says so.
    ///
    /// Errors: `NotFound(DeadLetter)`; `Conflict(Resolved)` if it was replayed.
    pub async fn ignore_dead_letter(&self, id: &DeadLetterId, at: i64) -> Result<()> {
        let id = id.clone();
        self.write(Touches::Records, move |connection| {
            Box::pin(async move { resolve(connection, &id, Resolution::Ignored, at).await })
        })
        .await
    }

    /// Deletes at most `limit` dead letters given up before `at`, µs, the oldest first.
    pub async fn delete_dead_letters_before(&self, at: i64, limit: i64) -> Result<u64> {
        self.delete_before("dead_letters", "id", at, limit).await
    }

    /// Deletes at most `limit` abandoned executions from before `at`, µs.
    pub async fn delete_abandoned_executions_before(&self, at: i64, limit: i64) -> Result<u64> {
        self.delete_before("abandoned_executions", "execution_id", at, limit).await
    }

    /// Deletes at most `limit` idempotency keys from before `at`, µs.
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

/// Whether there is a script to run an event, in the version that the event names.
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
