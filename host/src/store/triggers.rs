//! Triggers: what makes a script run besides a request. One parent row with what
//! all have in common, and one row in the table of its kind.
//!
//! Invariant: a trigger leads to a script of its own app and never changes its kind.
//! Invariant: a queue's waiting messages belong to its trigger, and to nobody while
//! it has none: [`moves`].

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

/// A trigger as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// Its id.
    pub id: TriggerId,
    /// The app that it belongs to.
    pub app_id: AppId,
    /// The script that it runs.
    pub script_id: ScriptId,
    /// Since when it does not fire, µs; none while it does.
    pub disabled_at: Option<i64>,
    /// What to do when the script fails.
    pub retry: RetryOverrides,
    /// Who made it, and as whom the script runs.
    pub registered_by_principal: String,
    /// What is known of them now; nothing of whoever is no user, or none any more.
    pub registrant: Option<Registrant>,
    /// When it was made, µs.
    pub created_at: i64,
    /// When it was last changed, µs.
    pub updated_at: i64,
    /// What it fires on.
    pub detail: TriggerDetail,
}

/// A user who has registered a trigger, as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registrant {
    /// Their name.
    pub name: String,
    /// What they may do in the instance.
    pub role: InstanceRole,
    /// What they may do in the trigger's app.
    pub app_role: Option<AppRole>,
    /// Whether they may sign in.
    pub enabled: bool,
}

/// A trigger's own retry policy; `None` is the platform's default.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RetryOverrides {
    /// Attempts in all.
    pub attempts_max: Option<i64>,
    /// How the wait grows.
    pub backoff: Option<Backoff>,
    /// The first wait, ms.
    pub backoff_base_ms: Option<i64>,
    /// The longest wait, ms.
    pub backoff_cap_ms: Option<i64>,
    /// How much of a wait is random, 0 to 1.
    pub jitter: Option<f64>,
}

/// What to change; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct TriggerChange {
    /// Another script of the app.
    pub script_id: Option<ScriptId>,
    /// Whether it fires.
    pub enabled: Option<bool>,
    /// Who it is registered by from now on.
    pub registered_by_principal: Option<String>,
    /// The whole policy.
    pub retry: Option<RetryOverrides>,
    /// What it fires on; of the same kind.
    pub detail: Option<TriggerDetail>,
    /// Now, µs.
    pub updated_at: i64,
}

/// All triggers with what they fire on; a condition follows.
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
    /// Makes a trigger.
    /// Errors: `NotFound(Script)`, also if it is another app's; `Conflict(Queue)` with
    /// the queue's trigger; `Conflict(Address)`; `Invalid`.
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

    /// Errors: `NotFound(Trigger)`.
    pub async fn find_trigger(&self, id: &TriggerId) -> Result<Trigger> {
        sqlx::query_as(AssertSqlSafe(format!("{SELECT} WHERE t.id = $1")))
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Trigger))
    }

    /// The app and the kind of a trigger, and the trigger itself if this release understands it.
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

    /// The app's triggers, newest first. One that this release does not understand is left out.
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

    /// The triggers of a script: the id of each, and its kind.
    pub async fn list_triggers_of_script(
        &self,
        script_id: &ScriptId,
    ) -> Result<Vec<(TriggerId, String)>> {
        let query = "SELECT id, kind FROM triggers WHERE script_id = $1 ORDER BY id";
        Ok(sqlx::query_as(query).bind(script_id).fetch_all(self.reads()).await?)
    }

    /// Every trigger that a principal has registered, in any app.
    pub async fn list_triggers_of(&self, principal: &str) -> Result<Vec<Trigger>> {
        let query = format!("{SELECT} WHERE t.registered_by_principal = $1 ORDER BY t.id");
        let rows = sqlx::query(AssertSqlSafe(query)).bind(principal).fetch_all(self.reads());
        Ok(readable(&rows.await?))
    }

    /// Gives the messages that wait in a trigger's queue to its script: what came while
    /// the trigger had stopped went to nobody. Errors: `NotFound(Trigger)`.
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

    /// Takes the messages that wait for a trigger back into its queue, where they are
    /// nobody's.
    pub async fn take_back_messages(&self, id: &TriggerId) -> Result<()> {
        let (id, dialect) = (id.clone(), self.inner.dialect);
        self.write(Touches::Messages, move |connection| {
            Box::pin(async move { moves::release(connection, dialect, &id).await })
        })
        .await
    }

    /// Changes a trigger.
    /// Errors: as [`Store::insert_trigger`], and `NotFound(Trigger)`; `Invalid` for a
    /// detail of another kind.
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

    /// Deletes a trigger. Events that it has brought stay and are carried out; messages
    /// of its queue wait for another trigger. Errors: `NotFound(Trigger)`.
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

/// Every trigger of every app, for the definitions. One that this release does not understand
/// is left out, so that it alone does not fire.
pub(super) async fn all(connection: &mut AnyConnection) -> Result<Vec<Trigger>> {
    let query = format!("{SELECT} ORDER BY t.id");
    Ok(readable(&sqlx::query(AssertSqlSafe(query)).fetch_all(connection).await?))
}

/// Those of the triggers that this release understands.
fn readable(rows: &[AnyRow]) -> Vec<Trigger> {
    let read = |row: &AnyRow| match Trigger::from_row(row) {
        Ok(trigger) => Some(trigger),
        Err(error) => {
            let id = row.try_get::<String, _>("id").unwrap_or_default();
            tracing::warn!(%error, id, "a trigger is not understood and does not fire");
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

/// A float as a text, for a parameter in a `CAST`: sqlx 0.9 declares an absent `f64` as a float
/// of 4 bytes, and PostgreSQL then takes no other for that statement.
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
