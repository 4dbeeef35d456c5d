//! Schedules: when each is due, and how one fires.

use crate::store::outbox::{self, NewEvent};
use crate::store::writer::Touches;
use crate::store::{Result, Store, TriggerId};

/// A schedule that has come due.
#[derive(Debug, Clone)]
pub struct Firing {
    /// The trigger.
    pub trigger_id: TriggerId,
    /// When it was due, as the caller has read it.
    pub due_at: i64,
    /// When it is due next, µs.
    pub next_due_at: Option<i64>,
    /// What it fires; none while an earlier one runs, if they must not overlap.
    pub events: Vec<NewEvent>,
    /// Whether an event waits until those before it are done: then this one is left out.
    pub forbids_overlap: bool,
}

impl Store {
    /// Moves a schedule on and appends what it fires, in one commit. `false` if
    /// somebody else has done so, or changed the schedule, since it was read.
    pub async fn fire_schedule(&self, firing: Firing) -> Result<bool> {
        let dialect = self.inner.dialect;
        self.write(Touches::Outbox, move |connection| {
            Box::pin(async move {
                let moved = sqlx::query(
                    "UPDATE triggers_cron SET due_at = $3 WHERE trigger_id = $1 AND due_at = $2",
                )
                .bind(&firing.trigger_id)
                .bind(firing.due_at)
                .bind(firing.next_due_at)
                .execute(&mut *connection)
                .await?;
                if moved.rows_affected() == 0 {
                    return Ok(false);
                }
                let mut events = firing.events;
                if firing.forbids_overlap {
                    let busy = sqlx::query("SELECT 1 FROM outbox WHERE trigger_id = $1 LIMIT 1")
                        .bind(&firing.trigger_id)
                        .fetch_optional(&mut *connection)
                        .await?;
                    events.truncate(usize::from(busy.is_none()));
                }
                outbox::append(connection, dialect, &events).await?;
                Ok(true)
            })
        })
        .await
    }
}
