//! Abandoned executions: answers whose callers had gone before they were ready.

use sqlx::{AssertSqlSafe, FromRow};

use super::bulk::{self, bulk_row};
use super::dialect::Dialect;
use super::listing::{Listing, Table};
use super::signals::Touches;
use super::{AppId, EventId, ExecutionId, Json, Listed, Part, Result, ScriptId, Store};

/// An answer that nobody took.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AbandonedExecution {
    /// The execution that made it.
    pub execution_id: ExecutionId,
    /// The app that was asked.
    pub app_id: AppId,
    /// The event that the request had become.
    pub event_id: EventId,
    /// The script that answered.
    pub script_id: ScriptId,
    /// The answer.
    pub response: Json,
    /// When it was ready, µs.
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

/// Inserts many.
pub(super) fn insert_statement(dialect: Dialect) -> String {
    bulk::insert_statement::<AbandonedExecution>(
        dialect,
        "abandoned_executions",
        "ON CONFLICT (execution_id) DO NOTHING",
    )
}

impl Store {
    /// Keeps an answer.
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

    /// The app's abandoned executions, newest first.
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
