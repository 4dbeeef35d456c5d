//! Which executions a list is asked for.

use std::str::FromStr;

use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::{Error, Refusal, Result};
use crate::store::{
    EventId, ExecutionCursor, ExecutionFilter, ExecutionId, ExecutionStatus, TriggerKind,
};

/// The `after` of the log's beginning.
const START: &str = "start";

/// The longest text that executions are searched for.
pub(in crate::manager) const TEXT_CHARS_MAX: usize = 200;

/// Which executions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExecutionsQuery {
    /// Only those that ended so.
    #[param(value_type = Option<String>)]
    status: Option<ExecutionStatus>,
    /// Only those that were started so: `http`, `execute`, `kv` …
    #[param(value_type = Option<String>)]
    trigger: Option<TriggerKind>,
    /// Only those that came by the trigger with this id.
    trigger_id: Option<String>,
    /// Only those that ended then or later, in microseconds since 1970.
    from: Option<i64>,
    /// Only those that ended before then, in microseconds since 1970.
    to: Option<i64>,
    /// Only those with this text in the request, the response, the log or the error, as people
    /// see them, at most 200 characters. Small and large letters are the same, and spaces beside
    /// `:`, `,` and brackets do not count. At most 10,000 executions that fit otherwise, and
    /// 64 MiB of text, are searched; `next_before` goes on behind them. Not together with
    /// `after`.
    q: Option<String>,
    /// Only the attempts of the event with this id, and what they called; no other
    /// filter counts then.
    event_id: Option<String>,
    /// Only what the execution with this id has led to by events; no other filter
    /// counts then.
    caused_by: Option<String>,
    /// Follows the log: only those that were written after this cursor, in the order in
    /// which they were written. A cursor is the `next_after` of an earlier answer, or `start`
    /// for the oldest execution. Each execution comes exactly once. Deprecated: the id of an
    /// execution. It is a cursor where the database has had one writer, as on SQLite; else it
    /// gives those that ended after it, and some may be missing.
    after: Option<String>,
    /// Only what is behind this place in a list of the newest: the `next_before` of an earlier
    /// answer.
    pub(super) before: Option<String>,
    /// At most so many, 1 to 200; 50 when left out.
    pub(super) limit: Option<i64>,
    /// Number of executions to skip, at most 10,000; not together with `after`.
    pub(super) offset: Option<i64>,
}

/// What a query asks for.
pub(super) enum Selection {
    /// What fits, the last to end first.
    Filtered(ExecutionFilter),
    /// What fits and was written after a cursor.
    Following(ExecutionCursor, ExecutionFilter),
    /// What fits and ended after an execution, the first to end first.
    EndedAfter(ExecutionId, ExecutionFilter),
    /// The attempts of an event.
    OfEvent(EventId),
    /// What an execution has led to.
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
                    return Err(refused(field, "must not be given together with `after`"));
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

/// What follows a cursor, or the id of an execution as clients from before cursors send it.
fn after_selection(after: &str, filter: ExecutionFilter) -> Result<Selection> {
    if after == START {
        return Ok(Selection::Following(ExecutionCursor::default(), filter));
    }
    if let Ok(cursor) = after.parse() {
        return Ok(Selection::Following(cursor, filter));
    }
    let id = after.parse().map_err(|_| {
        refused("after", "must be the `next_after` of an earlier answer, or `start`")
    })?;
    Ok(Selection::EndedAfter(id, filter))
}

/// An id from a query.
fn parsed<Id: FromStr>(field: &str, text: Option<&str>) -> Result<Option<Id>> {
    text.map(|text| text.parse().map_err(|_| refused(field, "must be an id"))).transpose()
}

fn refused(field: &str, reason: &str) -> Error {
    Error::Invalid(Refusal::field(field, reason))
}
