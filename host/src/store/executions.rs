//! The log of runs: read and aged here, written by [`super::commit`].
//!
//! Invariant: a row is never changed.

pub(super) mod insert;

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, FromRow};

use super::writer::Touches;
use super::{AppId, Error, ExecutionId, Json, Page, Resource, Result, ScriptId, Store};

/// One run of a script, as it ended. The JSON columns are the caller's.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// The app that the script belonged to.
    pub app_id: AppId,
    /// The script.
    pub script_id: ScriptId,
    /// The script's name at that time.
    pub script_name: String,
    /// The version that ran.
    pub version: i64,
    /// How it ended.
    #[sqlx(try_from = "String")]
    pub status: ExecutionStatus,
    /// What started it.
    #[sqlx(try_from = "String")]
    pub trigger_kind: TriggerKind,
    /// Which attempt, from 1.
    pub attempt: i64,
    /// A summary of the request.
    pub request: Json,
    /// A summary of the response, if there was one.
    pub response: Option<Json>,
    /// The script's log lines, an array.
    pub log: Json,
    /// What went wrong, if something did.
    pub error: Option<Json>,
    /// Fuel that the run took.
    pub fuel_used: i64,
    /// The most memory that it had, in bytes.
    pub memory_peak_bytes: i64,
    /// How long it took, µs.
    pub duration_us: i64,
    /// When it began, µs.
    pub started_at: i64,
    /// When it ended, µs.
    pub finished_at: i64,
}

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name, as it is stored and shown.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = UnknownName;

            fn try_from(name: String) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|known| known.as_str() == name).ok_or(UnknownName(name))
            }
        }
    };
}

names! {
    /// How a run ended.
    ExecutionStatus {
        /// The script returned.
        Success = "success",
        /// It threw, or failed to run.
        Error = "error",
        /// Its wall-clock time was up.
        Timeout = "timeout",
        /// Its fuel was used up.
        BudgetExceeded = "budget_exceeded",
        /// It asked for more memory than it may have.
        MemoryExceeded = "memory_exceeded",
        /// It went over another named limit.
        LimitExceeded = "limit_exceeded",
        /// The host failed while it ran.
        Crashed = "crashed",
    }
}

names! {
    /// What started a run.
    TriggerKind {
        /// A request to an endpoint or a route.
        Http = "http",
        /// The test panel.
        Execute = "execute",
    }
}

/// The database has a name that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown name {0:?}")]
pub struct UnknownName(String);

/// Whose executions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutionScope {
    /// Of all scripts of an app.
    App(AppId),
    /// Of one script.
    Script(ScriptId),
}

impl ExecutionScope {
    fn column(&self) -> &'static str {
        match self {
            Self::App(_) => "app_id",
            Self::Script(_) => "script_id",
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::App(id) => id.as_str(),
            Self::Script(id) => id.as_str(),
        }
    }
}

impl Store {
    /// Errors: `NotFound(Execution)`, also for one that is recorded and not yet committed.
    pub async fn find_execution(&self, id: &ExecutionId) -> Result<Execution> {
        sqlx::query_as("SELECT * FROM executions WHERE id = $1")
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Execution))
    }

    /// A page of executions, the last to finish first.
    pub async fn list_executions(
        &self,
        scope: &ExecutionScope,
        status: Option<ExecutionStatus>,
        page: Page,
    ) -> Result<Vec<Execution>> {
        let query = format!(
            "SELECT * FROM executions WHERE {} = $1 AND ($2 IS NULL OR status = $2) \
             ORDER BY finished_at DESC, id DESC LIMIT $3 OFFSET $4",
            scope.column()
        );
        let rows = sqlx::query_as(AssertSqlSafe(query))
            .bind(scope.id())
            .bind(status.map(ExecutionStatus::as_str))
            .bind(page.limit)
            .bind(page.offset)
            .fetch_all(self.reads())
            .await?;
        Ok(rows)
    }

    /// What finished after the execution `after`, the first to finish first: to
    /// follow the log. Without `after`, or when retention has taken it, from the
    /// oldest row there is.
    pub async fn list_executions_after(
        &self,
        scope: &ExecutionScope,
        status: Option<ExecutionStatus>,
        after: Option<&ExecutionId>,
        limit: i64,
    ) -> Result<Vec<Execution>> {
        let query = format!(
            "SELECT * FROM executions WHERE {} = $1 AND ($2 IS NULL OR status = $2) \
             AND finished_at >= COALESCE((SELECT finished_at FROM executions WHERE id = $3), 0) \
             AND (finished_at > COALESCE((SELECT finished_at FROM executions WHERE id = $3), 0) OR id > $3) \
             ORDER BY finished_at, id LIMIT $4",
            scope.column()
        );
        let rows = sqlx::query_as(AssertSqlSafe(query))
            .bind(scope.id())
            .bind(status.map(ExecutionStatus::as_str))
            .bind(after)
            .bind(limit)
            .fetch_all(self.reads())
            .await?;
        Ok(rows)
    }

    /// Deletes at most `limit` executions that finished before `at`, the oldest
    /// first, and says how many. Retention calls it until that is less than `limit`.
    pub async fn delete_executions_before(&self, at: i64, limit: i64) -> Result<u64> {
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "DELETE FROM executions WHERE id IN (SELECT id FROM executions \
                     WHERE finished_at < $1 ORDER BY finished_at LIMIT $2)",
                )
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
