//! Schedules: when each is due, and firing them.

use sqlx::AnyConnection;

use crate::store::outbox::{self, NewEvent};
use crate::store::signals::Touches;
use crate::store::{Result, Store, TriggerId};

/// A due schedule.
#[derive(Debug, Clone)]
pub struct Firing {
    /// The trigger.
    pub trigger_id: TriggerId,
    /// The due time that the caller has read.
    pub due_at: i64,
    /// The next due time, µs.
    pub next_due_at: Option<i64>,
    /// The events to append; empty if an earlier one runs and overlap is forbidden.
    pub events: Vec<NewEvent>,
    /// Whether to append nothing while an earlier event of the trigger is not done.
    pub forbids_overlap: bool,
}

/// The result of a firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fired {
    /// The next due time. It differs from the requested time if another node fired or changed the
    /// schedule in between.
    pub next_due_at: Option<i64>,
    /// The number of events appended; `None` if another node fired or changed the schedule.
    pub appended: Option<usize>,
}

impl Store {
    /// Moves a schedule to its next due time and appends its events, in one commit.
    pub async fn fire_schedule(&self, firing: Firing) -> Result<Fired> {
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
                    let next_due_at = due_at(connection, &firing.trigger_id).await?;
                    return Ok(Fired { next_due_at, appended: None });
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
                Ok(Fired { next_due_at: firing.next_due_at, appended: Some(events.len()) })
            })
        })
        .await
    }

    /// Moves back a due time that is too late, because the clock was ahead when it was set. Returns
    /// the next due time.
    pub async fn pull_schedule_back(
        &self,
        trigger_id: &TriggerId,
        from: i64,
        to: i64,
    ) -> Result<Option<i64>> {
        let trigger_id = trigger_id.clone();
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE triggers_cron SET due_at = $3 WHERE trigger_id = $1 AND due_at = $2",
                )
                .bind(&trigger_id)
                .bind(from)
                .bind(to)
                .execute(&mut *connection)
                .await?;
                due_at(connection, &trigger_id).await
            })
        })
        .await
    }
}

/// Returns when a schedule is due next; `None` if never again or if it does not exist.
async fn due_at(connection: &mut AnyConnection, trigger_id: &TriggerId) -> Result<Option<i64>> {
    let query = sqlx::query_scalar("SELECT due_at FROM triggers_cron WHERE trigger_id = $1");
    let due_at: Option<Option<i64>> = query.bind(trigger_id).fetch_optional(connection).await?;
    Ok(due_at.flatten())
}
