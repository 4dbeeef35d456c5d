//! The filters of an execution list.

use std::str::FromStr;

use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::{Error, Refusal, Result};
use crate::store::{
    EventId, ExecutionCursor, ExecutionFilter, ExecutionId, ExecutionStatus, TriggerKind,
};

/// The `after` that stands for the beginning of the log.
const START: &str = "start";

/// The longest text that a search can have, in characters.
pub(in crate::manager) const TEXT_CHARS_MAX: usize = 200;

/// Filters for a list of executions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExecutionsQuery {
    /// Only executions with this status.
    #[param(value_type = Option<String>)]
    status: Option<ExecutionStatus>,
    /// Only executions that were started this way: `http`, `execute`, `kv` …
    #[param(value_type = Option<String>)]
    trigger: Option<TriggerKind>,
    /// Only executions of the trigger with this id.
    trigger_id: Option<String>,
    /// Only executions that ended at this time or later, in microseconds since 1970.
    from: Option<i64>,
    /// Only executions that ended before this time, in microseconds since 1970.
    to: Option<i64>,
    /// Only executions with this text in the request, response, log or error, as people see them;
    /// at most 200 characters. The search ignores case, and spaces beside `:`, `,` and brackets. It
    /// examines at most 10,000 executions that match the other filters, and 64 MiB of text;
    /// `next_before` continues from there. Cannot be combined with `after`.
    q: Option<String>,
    /// Only the attempts of the event with this id, and the scripts they called; other filters are
    /// ignored.
    event_id: Option<String>,
    /// Only executions that the execution with this id caused through events; other filters are
    /// ignored.
    caused_by: Option<String>,
    /// Follows the log: returns executions written after this cursor, in the order they were
    /// written, each exactly once. A cursor is the `next_after` of a previous response, or `start`
    /// for the oldest execution. Deprecated: the id of an execution. It works as a cursor if the
    /// database has had one writer, as on SQLite. Otherwise it returns those that ended after it,
    /// and some can be missing.
    after: Option<String>,
    /// Cursor for a list of the newest executions: the `next_before` of a previous response.
    pub(super) before: Option<String>,
    /// Number of items to return, 1 to 200. Default: 50.
    pub(super) limit: Option<i64>,
    /// Number of executions to skip, at most 10,000. Cannot be combined with `after`.
    pub(super) offset: Option<i64>,
}

/// The executions that a query selects.
pub(super) enum Selection {
    /// Those that match, the last to end first.
    Filtered(ExecutionFilter),
    /// Those that match and were written after a cursor.
    Following(ExecutionCursor, ExecutionFilter),
    /// Those that match and ended after an execution, the first to end first.
    EndedAfter(ExecutionId, ExecutionFilter),
    /// The attempts of an event.
    OfEvent(EventId),
    /// Those that an execution caused.
    CausedBy(ExecutionId),
}

impl ExecutionsQuery {
    pub(super) fn selection(&self) -> Result<Selection> {
        let event_id = parsed("event_id", self.event_id.as_deref())?;
        let cause = parsed("caused_by", self.caused_by.as_deref())?;
        let filter = self.filter()?;
        Ok(match (event_id, cause, &self.after) {
            (Some(event_id), _, _) => Selection::OfEvent(event_id),
            (None, Some(cause), _) => Selection::CausedBy(cause),
            (None, None, None) => Selection::Filtered(filter),
            (None, None, Some(after)) => {
                let excluded = [
                    ("offset", self.offset.is_some()),
                    ("before", self.before.is_some()),
                    ("q", self.q.is_some()),
                ];
                if let Some((field, _)) = excluded.into_iter().find(|(_, given)| *given) {
                    return Err(refused(field, "cannot be combined with `after`"));
                }
                after_selection(after, filter)?
            }
        })
    }

    fn filter(&self) -> Result<ExecutionFilter> {
        let text = self.q.clone().filter(|text| !text.is_empty());
        if text.as_ref().is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX) {
            let refusal =
                Refusal::field("q", &format!("must have at most {TEXT_CHARS_MAX} characters"));
            return Err(Error::Invalid(refusal.with("most", TEXT_CHARS_MAX)));
        }
        Ok(ExecutionFilter {
            status: self.status,
            trigger_kind: self.trigger,
            trigger_id: parsed("trigger_id", self.trigger_id.as_deref())?,
            from: self.from,
            to: self.to,
            text,
        })
    }
}

/// Selects the executions after a cursor, or after an execution's id, which older clients send.
fn after_selection(after: &str, filter: ExecutionFilter) -> Result<Selection> {
    if after == START {
        return Ok(Selection::Following(ExecutionCursor::default(), filter));
    }
    if let Ok(cursor) = after.parse() {
        return Ok(Selection::Following(cursor, filter));
    }
    let id = after.parse().map_err(|_| {
        refused("after", "must be the `next_after` of a previous response, or `start`")
    })?;
    Ok(Selection::EndedAfter(id, filter))
}

/// Parses an id in a query.
fn parsed<Id: FromStr>(field: &str, text: Option<&str>) -> Result<Option<Id>> {
    text.map(|text| text.parse().map_err(|_| refused(field, "must be an id"))).transpose()
}

fn refused(field: &str, reason: &str) -> Error {
    Error::Invalid(Refusal::field(field, reason))
}
