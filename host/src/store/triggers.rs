//! Triggers: what starts a script besides a request. Each has a parent row with the common columns,
//! and a row in the table of its kind.
//!
//! Invariant: a trigger runs a script of its own app and never changes its kind.
//! Invariant: the pending messages of a queue are assigned to its trigger, or unassigned while it
//! has none: [`moves`].

mod detail;
mod moves;
mod schedule;

pub use detail::{NoOperation, Operations, TriggerDetail};
pub use moves::Moving;
pub use schedule::{Fired, Firing};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, FromRow, Row};

use super::dialect::Dialect;
use super::signals::Touches;
use super::{
    AppId, AppRole, Backoff, Error, InstanceRole, Page, Resource, Result, ScriptId, Store,
    TriggerId, TriggerKind,
};

/// A stored trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// The id.
    pub id: TriggerId,
    /// The app it belongs to.
    pub app_id: AppId,
    /// The script it runs.
    pub script_id: ScriptId,
    /// When it was disabled, µs; `None` while it is enabled.
    pub disabled_at: Option<i64>,
    /// The retry policy for failed runs.
    pub retry: RetryOverrides,
    /// The principal that registered it; the script runs as this principal.
    pub registered_by_principal: String,
    /// The current facts about that user; `None` if the principal is not an existing user.
    pub registrant: Option<Registrant>,
    /// When it was created, µs.
    pub created_at: i64,
    /// When it was last changed, µs.
    pub updated_at: i64,
    /// The condition on which it fires.
    pub detail: TriggerDetail,
}

/// The current facts about a user who registered a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registrant {
    /// The user's name.
    pub name: String,
    /// The user's role in the instance.
    pub role: InstanceRole,
    /// The user's role in the trigger's app.
    pub app_role: Option<AppRole>,
    /// Whether the user can sign in.
    pub enabled: bool,
}

/// A trigger's own retry policy; `None` means the platform's default.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RetryOverrides {
    /// The maximum number of attempts.
    pub attempts_max: Option<i64>,
    /// How the wait grows.
    pub backoff: Option<Backoff>,
    /// The first wait, ms.
    pub backoff_base_ms: Option<i64>,
    /// The longest wait, ms.
    pub backoff_cap_ms: Option<i64>,
    /// The random share of a wait, 0 to 1.
    pub jitter: Option<f64>,
}

/// A change to a trigger; a `None` field stays unchanged.
#[derive(Debug, Clone, Default)]
pub struct TriggerChange {
    /// Another script of the app.
    pub script_id: Option<ScriptId>,
    /// Whether it is enabled.
    pub enabled: Option<bool>,
    /// The new registering principal.
    pub registered_by_principal: Option<String>,
    /// The new retry policy, all fields.
    pub retry: Option<RetryOverrides>,
    /// The new condition, of the same kind.
    pub detail: Option<TriggerDetail>,
    /// The current time, µs.
    pub updated_at: i64,
}

/// Selects all triggers with their details; the WHERE clause follows.
const SELECT: &str = "SELECT t.*, \
    kv.collection AS kv_collection, kv.operations AS kv_operations, \
    c.expression, c.zone, c.dst, c.misfire, c.overlap, c.due_at, \
    q.queue, p.topic, m.address, \
    f.bucket, f.path, f.operations AS files_operations, \
    d.source_kind, d.source_trigger_id, d.source_script_id, \
    u.name AS registrant_name, u.role AS registrant_role, u.disabled_at AS registrant_disabled_at, \
    r.role AS registrant_app_role \
    FROM triggers t \
    LEFT JOIN users u ON t.registered_by_principal = 'user:' || u.id \
    LEFT JOIN members r ON r.app_id = t.app_id AND r.user_id = u.id \
    LEFT JOIN triggers_kv kv ON kv.trigger_id = t.id \
    LEFT JOIN triggers_cron c ON c.trigger_id = t.id \
    LEFT JOIN triggers_queue q ON q.trigger_id = t.id \
    LEFT JOIN triggers_pubsub p ON p.trigger_id = t.id \
    LEFT JOIN triggers_email m ON m.trigger_id = t.id \
    LEFT JOIN triggers_files f ON f.trigger_id = t.id \
    LEFT JOIN triggers_dead_letter d ON d.trigger_id = t.id";

impl FromRow<'_, AnyRow> for Trigger {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let backoff: Option<String> = row.try_get("backoff")?;
        Ok(Self {
            id: row.try_get("id")?,
            app_id: row.try_get("app_id")?,
            script_id: row.try_get("script_id")?,
            disabled_at: row.try_get("disabled_at")?,
            retry: RetryOverrides {
                attempts_max: row.try_get("attempts_max")?,
                backoff: backoff.map(Backoff::try_from).transpose().map_err(detail::malformed)?,
                backoff_base_ms: row.try_get("backoff_base_ms")?,
                backoff_cap_ms: row.try_get("backoff_cap_ms")?,
                jitter: row.try_get("jitter")?,
            },
            registered_by_principal: row.try_get("registered_by_principal")?,
            registrant: registrant(row)?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            detail: TriggerDetail::from_row(row)?,
        })
    }
}

fn registrant(row: &AnyRow) -> Result<Option<Registrant>, sqlx::Error> {
    let Some(name) = row.try_get("registrant_name")? else { return Ok(None) };
    let role: String = row.try_get("registrant_role")?;
    let app_role: Option<String> = row.try_get("registrant_app_role")?;
    let disabled_at: Option<i64> = row.try_get("registrant_disabled_at")?;
    Ok(Some(Registrant {
        name,
        role: InstanceRole::try_from(role).map_err(detail::malformed)?,
        app_role: app_role.map(AppRole::try_from).transpose().map_err(detail::malformed)?,
        enabled: disabled_at.is_none(),
    }))
}

impl Store {
    /// Inserts a trigger.
    /// Errors: `NotFound(Script)`, also if the script belongs to another app; `Conflict(Queue)` if
    /// the queue already has a trigger; `Conflict(Address)`; `Invalid`.
    pub async fn insert_trigger(&self, trigger: Trigger) -> Result<Trigger> {
        trigger.detail.check()?;
        let dialect = self.inner.dialect;
        self.write(Touches::Triggers, move |connection| {
            Box::pin(async move {
                check_script(connection, &trigger.app_id, &trigger.script_id).await?;
                insert_parent(connection, &trigger).await?;
                detail::insert(connection, &trigger).await?;
                moves::hand_over(connection, dialect, &trigger).await?;
                find(connection, &trigger.id).await
            })
        })
        .await
    }

    /// Returns the trigger with this id. Errors: `NotFound(Trigger)`.
    pub async fn find_trigger(&self, id: &TriggerId) -> Result<Trigger> {
        sqlx::query_as(AssertSqlSafe(format!("{SELECT} WHERE t.id = $1")))
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Trigger))
    }

    /// Returns a trigger's app and kind, and the trigger itself if this release understands it.
    ///
    /// # Errors
    /// `NotFound(Trigger)`.
    pub async fn find_any_trigger(
        &self,
        id: &TriggerId,
    ) -> Result<(AppId, String, Option<Trigger>)> {
        let row = sqlx::query(AssertSqlSafe(format!("{SELECT} WHERE t.id = $1")))
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Trigger))?;
        let trigger = Trigger::from_row(&row).ok();
        Ok((row.try_get("app_id")?, row.try_get("kind")?, trigger))
    }

    /// Lists the app's triggers, newest first. Omits triggers this release does not understand.
    pub async fn list_triggers(
        &self,
        app_id: &AppId,
        kind: Option<TriggerKind>,
        page: Page,
    ) -> Result<Vec<Trigger>> {
        let query = format!(
            "{SELECT} WHERE t.app_id = $1 AND ($2 IS NULL OR t.kind = $2) \
             ORDER BY t.created_at DESC, t.id DESC LIMIT $3 OFFSET $4"
        );
        let rows = sqlx::query(AssertSqlSafe(query))
            .bind(app_id)
            .bind(kind.map(TriggerKind::as_str))
            .bind(page.limit)
            .bind(page.offset)
            .fetch_all(self.reads())
            .await?;
        Ok(readable(&rows))
    }

    /// Lists the id and kind of each trigger of a script.
    pub async fn list_triggers_of_script(
        &self,
        script_id: &ScriptId,
    ) -> Result<Vec<(TriggerId, String)>> {
        let query = "SELECT id, kind FROM triggers WHERE script_id = $1 ORDER BY id";
        Ok(sqlx::query_as(query).bind(script_id).fetch_all(self.reads()).await?)
    }

    /// Lists every trigger that a principal has registered, in any app.
    pub async fn list_triggers_of(&self, principal: &str) -> Result<Vec<Trigger>> {
        let query = format!("{SELECT} WHERE t.registered_by_principal = $1 ORDER BY t.id");
        let rows = sqlx::query(AssertSqlSafe(query)).bind(principal).fetch_all(self.reads());
        Ok(readable(&rows.await?))
    }

    /// Assigns the pending messages of a trigger's queue to the trigger. Messages that came while
    /// it was stopped are unassigned. Errors: `NotFound(Trigger)`.
    pub async fn hand_over_messages(&self, id: &TriggerId) -> Result<()> {
        let (id, dialect) = (id.clone(), self.inner.dialect);
        self.write(Touches::Messages, move |connection| {
            Box::pin(async move {
                let trigger = find(connection, &id).await?;
                moves::hand_over(connection, dialect, &trigger).await
            })
        })
        .await
    }

    /// Returns the pending messages of a trigger to its queue, where they are unassigned.
    pub async fn take_back_messages(&self, id: &TriggerId) -> Result<()> {
        let (id, dialect) = (id.clone(), self.inner.dialect);
        self.write(Touches::Messages, move |connection| {
            Box::pin(async move { moves::release(connection, dialect, &id).await })
        })
        .await
    }

    /// Changes a trigger.
    /// Errors: as for [`Store::insert_trigger`], and `NotFound(Trigger)`; `Invalid` for a detail of
    /// another kind.
    pub async fn update_trigger(&self, id: &TriggerId, change: TriggerChange) -> Result<Trigger> {
        if let Some(detail) = &change.detail {
            detail.check()?;
        }
        let (id, dialect) = (id.clone(), self.inner.dialect);
        self.write(Touches::Triggers, move |connection| {
            Box::pin(async move { update(connection, dialect, &id, change).await })
        })
        .await
    }

    /// Deletes a trigger. Its other events still run; messages of its queue wait for another
    /// trigger. Errors: `NotFound(Trigger)`.
    pub async fn delete_trigger(&self, id: &TriggerId) -> Result<()> {
        let (id, dialect) = (id.clone(), self.inner.dialect);
        self.write(Touches::Triggers, move |connection| {
            Box::pin(async move {
                moves::release(connection, dialect, &id).await?;
                let done = sqlx::query("DELETE FROM triggers WHERE id = $1")
                    .bind(id)
                    .execute(connection)
                    .await?;
                if done.rows_affected() == 1 {
                    Ok(())
                } else {
                    Err(Error::NotFound(Resource::Trigger))
                }
            })
        })
        .await
    }
}

/// Returns every trigger of every app, for the definitions. Omits triggers this release does not
/// understand, so that only these do not fire.
pub(super) async fn all(connection: &mut AnyConnection) -> Result<Vec<Trigger>> {
    let query = format!("{SELECT} ORDER BY t.id");
    Ok(readable(&sqlx::query(AssertSqlSafe(query)).fetch_all(connection).await?))
}

/// Returns the triggers that this release understands.
fn readable(rows: &[AnyRow]) -> Vec<Trigger> {
    let read = |row: &AnyRow| match Trigger::from_row(row) {
        Ok(trigger) => Some(trigger),
        Err(error) => {
            let id = row.try_get::<String, _>("id").unwrap_or_default();
            tracing::warn!(%error, id, "skipping a trigger that this release does not understand");
            None
        }
    };
    rows.iter().filter_map(read).collect()
}

async fn find(connection: &mut AnyConnection, id: &TriggerId) -> Result<Trigger> {
    sqlx::query_as(AssertSqlSafe(format!("{SELECT} WHERE t.id = $1")))
        .bind(id)
        .fetch_optional(connection)
        .await?
        .ok_or(Error::NotFound(Resource::Trigger))
}

async fn check_script(
    connection: &mut AnyConnection,
    app_id: &AppId,
    script_id: &ScriptId,
) -> Result<()> {
    let script = sqlx::query("SELECT 1 FROM scripts WHERE id = $1 AND app_id = $2")
        .bind(script_id)
        .bind(app_id)
        .fetch_optional(connection)
        .await?;
    if script.is_some() { Ok(()) } else { Err(Error::NotFound(Resource::Script)) }
}

async fn insert_parent(connection: &mut AnyConnection, trigger: &Trigger) -> Result<()> {
    sqlx::query(
        "INSERT INTO triggers (id, app_id, script_id, kind, disabled_at, attempts_max, backoff, \
         backoff_base_ms, backoff_cap_ms, jitter, registered_by_principal, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CAST($10 AS DOUBLE PRECISION), \
         $11, $12, $12)",
    )
    .bind(&trigger.id)
    .bind(&trigger.app_id)
    .bind(&trigger.script_id)
    .bind(trigger.detail.kind().as_str())
    .bind(trigger.disabled_at)
    .bind(trigger.retry.attempts_max)
    .bind(trigger.retry.backoff.map(Backoff::as_str))
    .bind(trigger.retry.backoff_base_ms)
    .bind(trigger.retry.backoff_cap_ms)
    .bind(float(trigger.retry.jitter))
    .bind(&trigger.registered_by_principal)
    .bind(trigger.created_at)
    .execute(connection)
    .await
    .map_err(|error| Error::from(error).on_foreign_key(Resource::Script))?;
    Ok(())
}

/// Formats a float as text, for a parameter in a `CAST`. sqlx 0.9 declares a missing `f64` as a
/// float of 4 bytes, and PostgreSQL then accepts no other type for that statement.
fn float(value: Option<f64>) -> Option<String> {
    value.map(|value| value.to_string())
}

async fn update(
    connection: &mut AnyConnection,
    dialect: Dialect,
    id: &TriggerId,
    change: TriggerChange,
) -> Result<Trigger> {
    let mut trigger = find(connection, id).await?;
    let script_before = trigger.script_id.clone();
    if let Some(script_id) = change.script_id {
        check_script(connection, &trigger.app_id, &script_id).await?;
        trigger.script_id = script_id;
    }
    if let Some(enabled) = change.enabled {
        let since = trigger.disabled_at.unwrap_or(change.updated_at);
        trigger.disabled_at = (!enabled).then_some(since);
    }
    trigger.retry = change.retry.unwrap_or(trigger.retry);
    if let Some(principal) = change.registered_by_principal {
        trigger.registered_by_principal = principal;
    }
    sqlx::query(
        "UPDATE triggers SET script_id = $2, disabled_at = $3, attempts_max = $4, backoff = $5, \
         backoff_base_ms = $6, backoff_cap_ms = $7, \
         jitter = CAST($8 AS DOUBLE PRECISION), updated_at = $9, \
         registered_by_principal = $10 WHERE id = $1",
    )
    .bind(id)
    .bind(&trigger.script_id)
    .bind(trigger.disabled_at)
    .bind(trigger.retry.attempts_max)
    .bind(trigger.retry.backoff.map(Backoff::as_str))
    .bind(trigger.retry.backoff_base_ms)
    .bind(trigger.retry.backoff_cap_ms)
    .bind(float(trigger.retry.jitter))
    .bind(change.updated_at)
    .bind(&trigger.registered_by_principal)
    .execute(&mut *connection)
    .await?;
    if let Some(new) = change.detail {
        if new.kind() != trigger.detail.kind() {
            let (field, reason) = ("kind", "of a trigger never changes");
            return Err(Error::Invalid { field, reason });
        }
        moves::release(connection, dialect, id).await?;
        detail::delete(connection, &trigger).await?;
        trigger.detail = new;
        detail::insert(connection, &trigger).await?;
    }
    moves::hand_over(connection, dialect, &trigger).await?;
    if trigger.script_id != script_before {
        moves::show_script(connection, &trigger).await?;
    }
    find(connection, id).await
}
