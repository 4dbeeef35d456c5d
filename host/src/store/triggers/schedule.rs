//! Schedules: when each is due, and how one fires.

use sqlx::AnyConnection;

use crate::store::outbox::{self, NewEvent};
use crate::store::signals::Touches;
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

/// What became of a firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fired {
    /// When the schedule is due next: another time than the caller wanted if somebody else has
    /// fired or changed it since it was read.
    pub next_due_at: Option<i64>,
    /// How many events were appended; none if somebody else has fired or changed it.
    pub appended: Option<usize>,
}

impl Store {
    /// Moves a schedule on and appends what it fires, in one commit.
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

    /// Makes a schedule due earlier than it is: a clock that was ahead has moved it on too far.
    /// Returns when it is due next.
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

/// When a schedule is due next; none if it never is again, or does not exist.
async fn due_at(connection: &mut AnyConnection, trigger_id: &TriggerId) -> Result<Option<i64>> {
    let query = sqlx::query_scalar("SELECT due_at FROM triggers_cron WHERE trigger_id = $1");
    let due_at: Option<Option<i64>> = query.bind(trigger_id).fetch_optional(connection).await?;
    Ok(due_at.flatten())
}
