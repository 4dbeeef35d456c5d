//! Abandoned executions: responses that became ready after their caller had disconnected.

use sqlx::{AssertSqlSafe, FromRow};

use super::bulk::{self, bulk_row};
use super::dialect::Dialect;
use super::listing::{Listing, Table};
use super::signals::Touches;
use super::{AppId, EventId, ExecutionId, Json, Listed, Part, Result, ScriptId, Store};

/// A response that was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AbandonedExecution {
    /// The execution that produced it.
    pub execution_id: ExecutionId,
    /// The app that was called.
    pub app_id: AppId,
    /// The event created from the request.
    pub event_id: EventId,
    /// The script that ran.
    pub script_id: ScriptId,
    /// The response.
    pub response: Json,
    /// The time at which it was ready, µs.
    pub created_at: i64,
}

bulk_row! { AbandonedExecution {
    execution_id: Text,
    app_id: Text,
    event_id: Text,
    script_id: Text,
    response: Text,
    created_at: Number,
}}

/// Returns the statement that inserts many rows.
pub(super) fn insert_statement(dialect: Dialect) -> String {
    bulk::insert_statement::<AbandonedExecution>(
        dialect,
        "abandoned_executions",
        "ON CONFLICT (execution_id) DO NOTHING",
    )
}

impl Store {
    /// Inserts an abandoned execution.
    pub async fn insert_abandoned_execution(&self, abandoned: AbandonedExecution) -> Result<()> {
        let statement = insert_statement(self.inner.dialect);
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                sqlx::query(AssertSqlSafe(statement))
                    .bind(bulk::rows_json([&abandoned])?)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Lists the app's abandoned executions, newest first.
    pub async fn list_abandoned_executions(
        &self,
        app_id: &AppId,
        part: impl Into<Part>,
    ) -> Result<Listed<AbandonedExecution>> {
        let table = Table { name: "abandoned_executions", at: "created_at", id: "execution_id" };
        let listing = Listing::of(table).found("app_id =", app_id.as_str());
        let mut connection = self.reads().acquire().await?;
        listing.fetch(&mut connection, "*", &part.into()).await
    }
}
