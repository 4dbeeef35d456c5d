//! Which executions of a scope: what lists of them can be narrowed to.

use sqlx::any::AnyArguments;
use sqlx::query::QueryAs;
use sqlx::{Any, AssertSqlSafe, Executor};

use super::{Execution, ExecutionScope};
use crate::store::{ExecutionStatus, Page, Result, TriggerId, TriggerKind};

/// Among how many of the executions that fit otherwise a text is looked for: the last
/// ones. Rows are read one by one for it.
const TEXT_AMONG: usize = 20_000;

const FITS: &str = "($2 IS NULL OR status = $2) AND ($3 IS NULL OR trigger_kind = $3) \
    AND ($4 IS NULL OR trigger_id = $4) AND finished_at >= $5 AND finished_at < $6";

/// What executions have to be; what is `None` lets everything through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// How they ended.
    pub status: Option<ExecutionStatus>,
    /// What started them.
    pub trigger_kind: Option<TriggerKind>,
    /// By which trigger their event came.
    pub trigger_id: Option<TriggerId>,
    /// When they finished at the earliest, µs.
    pub from: Option<i64>,
    /// Before when they finished, µs.
    pub to: Option<i64>,
    /// What stands in their request, log or error, as JSON has it, in small letters or
    /// large ones; only the last 20,000 executions are searched.
    pub text: Option<String>,
}

impl ExecutionFilter {
    /// A page of what fits, the last to finish first.
    pub(super) async fn page<'c>(
        &self,
        scope: &ExecutionScope,
        page: Page,
        database: impl Executor<'c, Database = Any>,
    ) -> Result<Vec<Execution>> {
        let statement = AssertSqlSafe(self.page_statement(scope));
        let query = self.bind(sqlx::query_as(statement), scope);
        let query = query.bind(page.limit).bind(page.offset);
        let query = match &self.text {
            Some(text) => query.bind(pattern(text)),
            None => query,
        };
        Ok(query.fetch_all(database).await?)
    }

    /// A statement for a page of what fits, the last to finish first; `$7` is the page's
    /// limit, `$8` its offset, `$9` the text's pattern if there is a text.
    fn page_statement(&self, scope: &ExecutionScope) -> String {
        let conditions = Self::conditions(scope);
        let order = "ORDER BY finished_at DESC, id DESC";
        let newest = format!("SELECT * FROM executions WHERE {conditions} {order}");
        if self.text.is_none() {
            return format!("{newest} LIMIT $7 OFFSET $8");
        }
        let text = "LOWER(request || log || COALESCE(error, '')) LIKE LOWER($9) ESCAPE '\\'";
        format!(
            "SELECT * FROM ({newest} LIMIT {TEXT_AMONG}) AS newest WHERE {text} {order} \
             LIMIT $7 OFFSET $8"
        )
    }

    /// What a row has to be but for the text, by `$1` to `$6`.
    pub(super) fn conditions(scope: &ExecutionScope) -> String {
        format!("{} = $1 AND {FITS}", scope.column())
    }

    /// An expression for 1 where a row fits but for the text, by `$2` to `$6`; else 0.
    pub(super) fn fits() -> String {
        format!("CASE WHEN {FITS} THEN 1 ELSE 0 END")
    }

    /// Binds `$1` to `$6`.
    pub(super) fn bind<'q, Row>(
        &self,
        query: QueryAs<'q, Any, Row, AnyArguments>,
        scope: &ExecutionScope,
    ) -> QueryAs<'q, Any, Row, AnyArguments> {
        query
            .bind(scope.id().to_owned())
            .bind(self.status.map(ExecutionStatus::as_str))
            .bind(self.trigger_kind.map(TriggerKind::as_str))
            .bind(self.trigger_id.clone())
            .bind(self.from.unwrap_or(0))
            .bind(self.to.unwrap_or(i64::MAX))
    }
}

/// A pattern of LIKE for what has the text somewhere.
pub(super) fn pattern(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_like_is_taken_as_it_is() {
        assert_eq!(pattern("50% of a_b\\c"), "%50\\% of a\\_b\\\\c%");
    }
}
