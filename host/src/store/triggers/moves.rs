//! Moves pending messages when the trigger of their queue changes.
//!
//! ```text
//!  trigger deleted, disabled, moved to another queue ──▶ release: its messages are unassigned
//!  trigger created, enabled, moved to this queue     ──▶ take: unassigned messages become its own
//! ```
//!
//! A queue can hold a million messages. Moving them with one statement would block every other
//! write. So a change moves one part at once and leaves the rest as a job in `message_moves`;
//! [`Store::move_messages`] does a part of a job. A claim checks the jobs, so that no message runs
//! for a trigger that has released it.
//!
//! The script is not copied into the messages: a claim reads it from the trigger.
//!
//! Invariant: no statement here changes more than [`PART_ROWS`] rows.

use sqlx::{AnyConnection, AssertSqlSafe};

use super::{Trigger, TriggerDetail};
use crate::store::dialect::Dialect;
use crate::store::signals::Touches;
use crate::store::{AppId, Result, ScriptId, Store, TriggerId};

/// The maximum number of messages that one write moves.
const PART_ROWS: u64 = 500;

/// A job: release the messages of a trigger, or assign unassigned messages to it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Move {
    app_id: AppId,
    queue: String,
    /// The trigger to release messages from; `None` to assign messages to the queue's trigger.
    of_trigger: Option<TriggerId>,
}

/// The progress of moving messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moving {
    /// No messages are left to move.
    Done,
    /// A part was moved.
    More,
    /// Another node moves the rest.
    Elsewhere,
}

/// Assigns the unassigned messages of the trigger's queue to it; releases the messages of a
/// disabled trigger.
pub(super) async fn hand_over(
    connection: &mut AnyConnection,
    dialect: Dialect,
    trigger: &Trigger,
) -> Result<()> {
    let TriggerDetail::Queue { queue } = &trigger.detail else { return Ok(()) };
    if trigger.disabled_at.is_some() {
        return release(connection, dialect, &trigger.id).await;
    }
    // Messages that were to be released stay with the trigger.
    sqlx::query("DELETE FROM message_moves WHERE app_id = $1 AND queue = $2 AND trigger_id = $3")
        .bind(&trigger.app_id)
        .bind(queue)
        .bind(&trigger.id)
        .execute(&mut *connection)
        .await?;
    let job = Move { app_id: trigger.app_id.clone(), queue: queue.clone(), of_trigger: None };
    begin(connection, dialect, &job).await
}

/// Releases the messages that the trigger has not run yet. Does nothing for other kinds of
/// triggers.
pub(super) async fn release(
    connection: &mut AnyConnection,
    dialect: Dialect,
    trigger: &TriggerId,
) -> Result<()> {
    let query = "SELECT app_id, queue FROM triggers_queue WHERE trigger_id = $1";
    let queue: Option<(AppId, String)> =
        sqlx::query_as(query).bind(trigger).fetch_optional(&mut *connection).await?;
    let Some((app_id, queue)) = queue else { return Ok(()) };
    begin(connection, dialect, &Move { app_id, queue, of_trigger: Some(trigger.clone()) }).await
}

/// Moves a part, and leaves a job for the rest.
async fn begin(connection: &mut AnyConnection, dialect: Dialect, job: &Move) -> Result<()> {
    if move_part(connection, dialect, job).await? {
        return Ok(());
    }
    let insert = "INSERT INTO message_moves (app_id, queue, trigger_id) VALUES ($1, $2, $3) \
                  ON CONFLICT (app_id, queue, trigger_id) DO NOTHING";
    bound(sqlx::query(insert), job).execute(connection).await?;
    Ok(())
}

/// Updates the script shown for a part of a trigger's messages. The others show the previous script
/// until they run.
pub(super) async fn show_script(connection: &mut AnyConnection, trigger: &Trigger) -> Result<()> {
    let update = format!(
        "UPDATE outbox SET script_id = $2 WHERE id IN (SELECT id FROM outbox \
         WHERE trigger_id = $1 AND kind = 'queue' AND script_id <> $2 LIMIT {PART_ROWS})"
    );
    let update = sqlx::query(AssertSqlSafe(update)).bind(&trigger.id).bind(&trigger.script_id);
    update.execute(connection).await?;
    Ok(())
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Any, <sqlx::Any as sqlx::Database>::Arguments>;

fn bound<'q>(query: Query<'q>, job: &'q Move) -> Query<'q> {
    let trigger = job.of_trigger.as_ref().map_or("", TriggerId::as_str);
    query.bind(&job.app_id).bind(&job.queue).bind(trigger)
}

/// Moves a part of the messages. Returns whether that was all.
async fn move_part(connection: &mut AnyConnection, dialect: Dialect, job: &Move) -> Result<bool> {
    match &job.of_trigger {
        Some(trigger) => release_part(connection, dialect, trigger).await,
        None => take_part(connection, dialect, job).await,
    }
}

async fn release_part(
    connection: &mut AnyConnection,
    dialect: Dialect,
    trigger: &TriggerId,
) -> Result<bool> {
    const OF_TRIGGER: &str = "FROM outbox WHERE trigger_id = $1 AND kind = 'queue'";
    let update = format!(
        "UPDATE outbox SET trigger_id = NULL, script_id = NULL WHERE id IN \
         (SELECT id {OF_TRIGGER} LIMIT {PART_ROWS}{})",
        dialect.skip_locked()
    );
    let done = sqlx::query(AssertSqlSafe(update)).bind(trigger).execute(&mut *connection).await?;
    if done.rows_affected() == PART_ROWS {
        return Ok(false);
    }
    // Rows locked by another node were skipped.
    let left = format!("SELECT 1 {OF_TRIGGER} LIMIT 1");
    let left = sqlx::query(AssertSqlSafe(left)).bind(trigger).fetch_optional(connection).await?;
    Ok(left.is_none())
}

async fn take_part(connection: &mut AnyConnection, dialect: Dialect, job: &Move) -> Result<bool> {
    let trigger: Option<(TriggerId, ScriptId)> = sqlx::query_as(
        "SELECT t.id, t.script_id FROM triggers_queue q JOIN triggers t ON t.id = q.trigger_id \
         WHERE q.app_id = $1 AND q.queue = $2 AND t.disabled_at IS NULL",
    )
    .bind(&job.app_id)
    .bind(&job.queue)
    .fetch_optional(&mut *connection)
    .await?;
    // The trigger no longer exists; the next one takes the messages.
    let Some((trigger, script)) = trigger else { return Ok(true) };
    const OF_NOBODY: &str = "FROM outbox WHERE app_id = $1 AND source = $2 \
         AND script_id IS NULL AND kind = 'queue'";
    let update = format!(
        "UPDATE outbox SET trigger_id = $3, script_id = $4 WHERE id IN \
         (SELECT id {OF_NOBODY} LIMIT {PART_ROWS}{})",
        dialect.skip_locked()
    );
    let done = sqlx::query(AssertSqlSafe(update))
        .bind(&job.app_id)
        .bind(&job.queue)
        .bind(&trigger)
        .bind(&script)
        .execute(&mut *connection)
        .await?;
    if done.rows_affected() == PART_ROWS {
        return Ok(false);
    }
    let left = format!("SELECT 1 {OF_NOBODY} LIMIT 1");
    let left = sqlx::query(AssertSqlSafe(left)).bind(&job.app_id).bind(&job.queue);
    Ok(left.fetch_optional(connection).await?.is_none())
}

impl Store {
    /// Moves a part of the messages that are still to be moved.
    ///
    /// # Errors
    /// Errors of the database; nothing was moved then.
    pub async fn move_messages(&self) -> Result<Moving> {
        if !self.has_message_moves().await? {
            return Ok(Moving::Done);
        }
        let dialect = self.inner.dialect;
        self.write(Touches::Outbox, move |connection| {
            Box::pin(async move { continue_one(connection, dialect).await })
        })
        .await
    }

    async fn has_message_moves(&self) -> Result<bool> {
        let query = sqlx::query("SELECT 1 FROM message_moves LIMIT 1");
        Ok(query.fetch_optional(self.reads()).await?.is_some())
    }
}

/// Does a part of a job. Releases come first, because another trigger can then take the released
/// messages.
async fn continue_one(connection: &mut AnyConnection, dialect: Dialect) -> Result<Moving> {
    let next = format!(
        "SELECT app_id, queue, trigger_id FROM message_moves \
         ORDER BY trigger_id = '', app_id, queue, trigger_id LIMIT 1{}",
        dialect.skip_locked()
    );
    let next: Option<(AppId, String, String)> =
        sqlx::query_as(AssertSqlSafe(next)).fetch_optional(&mut *connection).await?;
    let Some((app_id, queue, trigger_id)) = next else { return Ok(Moving::Elsewhere) };
    let of_trigger = (!trigger_id.is_empty()).then(|| trigger_id.parse()).transpose();
    let of_trigger = of_trigger.map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    let job = Move { app_id, queue, of_trigger };
    if move_part(connection, dialect, &job).await? {
        let delete = "DELETE FROM message_moves \
                      WHERE app_id = $1 AND queue = $2 AND trigger_id = $3";
        bound(sqlx::query(delete), &job).execute(&mut *connection).await?;
        if job.of_trigger.is_some() {
            begin(connection, dialect, &Move { of_trigger: None, ..job }).await?;
        }
    }
    Ok(Moving::More)
}
