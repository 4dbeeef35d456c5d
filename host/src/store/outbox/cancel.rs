//! Cancels pending events on a user's request.
//!
//! Invariant: an event is cancelled or claimed, never both. Both operations lock its row; the
//! second one finds it deleted or leased.
//! Invariant: a running event is never cancelled.

use sqlx::AssertSqlSafe;

use super::EventFilter;
use super::lists::listing;
use crate::store::signals::Touches;
use crate::store::{
    AppId, Conflict, Error, EventId, Listed, Part, Position, Resource, Result, Store, bulk,
};

impl Store {
    /// Deletes a pending event.
    ///
    /// Errors: `NotFound(Event)`, also if it is done; `Conflict(EventRuns)` while it is running.
    pub async fn cancel_event(&self, id: &EventId) -> Result<()> {
        let id = id.clone();
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let delete = "DELETE FROM outbox WHERE id = $1 AND lease_token IS NULL";
                let done = sqlx::query(delete).bind(&id).execute(&mut *connection).await?;
                if done.rows_affected() == 1 {
                    return Ok(());
                }
                let runs = sqlx::query("SELECT 1 FROM outbox WHERE id = $1").bind(&id);
                Err(match runs.fetch_optional(connection).await? {
                    Some(_) => Error::Conflict(Conflict::EventRuns),
                    None => Error::NotFound(Resource::Event),
                })
            })
        })
        .await
    }

    /// Deletes the pending events among `ids` and returns them. Skips an event that another node is
    /// changing: waiting for several rows can deadlock.
    pub async fn cancel_events(&self, ids: Vec<EventId>) -> Result<Vec<EventId>> {
        let dialect = self.inner.dialect;
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let ids: Vec<_> = ids.iter().map(|id| (id,)).collect();
                let delete = format!(
                    "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE id IN \
                     (SELECT r.value->>0 FROM {}) AND lease_token IS NULL{}) RETURNING id",
                    dialect.rows(),
                    dialect.skip_locked()
                );
                let delete = sqlx::query_scalar(AssertSqlSafe(delete)).bind(bulk::json(&ids)?);
                Ok(delete.fetch_all(connection).await?)
            })
        })
        .await
    }

    /// Returns the positions of the app's events in [`Store::list_events`].
    pub async fn list_event_positions(
        &self,
        app_id: &AppId,
        filter: &EventFilter,
        part: impl Into<Part>,
    ) -> Result<Listed<Position>> {
        let mut connection = self.reads().acquire().await?;
        let columns = "created_at AS at, id";
        listing(app_id, filter).fetch(&mut connection, columns, &part.into()).await
    }
}
