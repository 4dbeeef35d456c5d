//! Filters for lists of executions.

use sqlx::Any;
use sqlx::any::AnyArguments;
use sqlx::query::QueryAs;

use super::{Execution, ExecutionScope};
use crate::store::listing::{Listing, Table};
use crate::store::{ExecutionStatus, TriggerId, TriggerKind};

/// The log of executions, as a table with lists.
pub(in crate::store) const EXECUTIONS: Table =
    Table { name: "executions", at: "finished_at", id: "id" };

const FITS: &str = "($2 IS NULL OR status = $2) AND ($3 IS NULL OR trigger_kind = $3) \
    AND ($4 IS NULL OR trigger_id = $4) AND finished_at >= $5 AND finished_at < $6";

/// A filter of executions; a `None` field matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// The status.
    pub status: Option<ExecutionStatus>,
    /// The kind of trigger that started the run.
    pub trigger_kind: Option<TriggerKind>,
    /// The trigger that created the event.
    pub trigger_id: Option<TriggerId>,
    /// The earliest finish time, µs.
    pub from: Option<i64>,
    /// The end of the finish times, exclusive, µs.
    pub to: Option<i64>,
    /// A text in the request, response, log or error: see [`super::search`].
    pub text: Option<String>,
}

impl ExecutionFilter {
    /// Returns the executions that match all but the text, last finished first.
    pub(in crate::store) fn listing(&self, scope: &ExecutionScope) -> Listing {
        let mut listing = Listing::of(EXECUTIONS);
        let mut status = self.status.map(ExecutionStatus::as_str);
        if let Some(trigger_id) = &self.trigger_id {
            listing = listing.found("trigger_id =", trigger_id.as_str());
            listing = listing.sifted(scope.column(), scope.id());
        } else {
            listing = listing.found(&format!("{} =", scope.column()), scope.id());
            // Only failures have an index: most executions succeed, and need no index entry.
            if let Some(failed) = status.take_if(|status| *status != "success") {
                listing = listing.found("status =", failed).found_where("status <> 'success'");
            }
        }
        if let Some(from) = self.from {
            listing = listing.found("finished_at >=", from);
        }
        if let Some(to) = self.to {
            listing = listing.before(to);
        }
        if let Some(status) = status {
            listing = listing.sifted("status", status);
        }
        if let Some(kind) = self.trigger_kind {
            listing = listing.sifted("trigger_kind", kind.as_str());
        }
        listing
    }

    /// Whether executions in blocks can match: all of them succeeded, and none has an event.
    pub(in crate::store) fn fits_blocks(&self) -> bool {
        self.trigger_id.is_none() && self.status.is_none_or(|s| s == ExecutionStatus::Success)
    }

    /// Whether an execution matches all but the text.
    pub(in crate::store) fn fits(&self, row: &Execution) -> bool {
        self.status.is_none_or(|status| row.status == status)
            && self.trigger_kind.is_none_or(|kind| row.trigger_kind == kind)
            && self.trigger_id.as_ref().is_none_or(|id| row.trigger_id.as_ref() == Some(id))
            && self.from.is_none_or(|from| row.finished_at >= from)
            && self.to.is_none_or(|to| row.finished_at < to)
    }

    /// Returns the condition for all but the text, with `$2` to `$6`.
    pub(super) fn conditions() -> &'static str {
        FITS
    }

    /// Returns [`Self::conditions`] as an expression that is 1 or 0.
    pub(super) fn fits_sql() -> String {
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
