//! The rows that record a run.

use std::borrow::Cow;

use picloud_shared::execution::{HttpRequest, Input};
use serde::Serialize;
use serde_json::json;

use super::work::Work;
use crate::executor::{Called, Outcome, Response, Status};
use crate::requests::mask;
use crate::secrets::Masker;
use crate::store::{AppId, Execution, ExecutionId, ExecutionStatus, Json, TriggerKind};

/// The maximum length of a stored body, in characters.
const PREVIEW_CHARS: usize = 1024;
/// The maximum length of a stored path, header value or parameter value, in bytes.
const VALUE_BYTES_MAX: usize = 2048;
/// The maximum total size of all stored headers, and of all stored parameters, in bytes.
const PAIRS_BYTES_MAX: usize = 8192;
/// Marks the place where something was cut.
const CUT: &str = "…";
/// The maximum length of an event that is stored whole, in characters.
const EVENT_CHARS: usize = 16 * 1024;

/// Returns the rows of a run and of the runs that it called.
pub(super) fn rows(
    work: &Work,
    id: &ExecutionId,
    outcome: &Outcome,
) -> serde_json::Result<Vec<Execution>> {
    let mut rows = Vec::with_capacity(1 + outcome.called.len());
    rows.push(row(work, id, outcome)?);
    for called in &outcome.called {
        rows.push(called_row(&work.target.app_id, called)?);
    }
    Ok(rows)
}

fn row(work: &Work, id: &ExecutionId, outcome: &Outcome) -> serde_json::Result<Execution> {
    let target = &work.target;
    Ok(Execution {
        script_id: target.script_id.clone(),
        script_name: target.script.clone(),
        version: target.version,
        trigger_kind: work.kind,
        attempt: work.origin.attempt,
        request: match &*work.input {
            Input::Http(request) => summary_of_request(request, &outcome.masker)?,
            Input::Event(event) => summary_of_event(event, &outcome.masker),
        },
        event_id: work.origin.event_id.clone(),
        trigger_id: work.origin.trigger_id.clone(),
        caused_by: work.origin.caused_by.clone(),
        ..of_outcome(&target.app_id, id, outcome)?
    })
}

fn called_row(app_id: &AppId, called: &Called) -> serde_json::Result<Execution> {
    Ok(Execution {
        script_id: called.script_id.clone(),
        script_name: called.script_name.clone(),
        version: called.version,
        parent_id: Some(called.parent_id.clone()),
        ..of_outcome(app_id, &called.execution_id, &called.outcome)?
    })
}

/// Returns the fields that come from the outcome. The others have the values of a called script.
fn of_outcome(
    app_id: &AppId,
    id: &ExecutionId,
    outcome: &Outcome,
) -> serde_json::Result<Execution> {
    let natural = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let response = outcome.response.as_ref().map(|response| {
        let body_bytes = outcome.value_bytes.unwrap_or(response.body.len());
        summary(response, body_bytes, &outcome.masker)
    });
    Ok(Execution {
        id: id.clone(),
        app_id: app_id.clone(),
        script_id: uuid::Uuid::nil().into(),
        script_name: String::new(),
        version: 0,
        status: outcome.status.into(),
        trigger_kind: TriggerKind::Script,
        attempt: 1,
        request: Json::from_text("{}".to_owned()),
        response: response.transpose()?,
        log: Json::of(&outcome.log)?,
        error: outcome.failure.as_ref().map(Json::of).transpose()?,
        fuel_used: natural(outcome.fuel_used),
        memory_peak_bytes: natural(outcome.memory_peak_bytes),
        duration_us: outcome.duration_us,
        started_at: outcome.started_at,
        finished_at: outcome.started_at.saturating_add(outcome.duration_us),
        event_id: None,
        trigger_id: None,
        parent_id: None,
        caused_by: None,
    })
}

/// Returns the event, or its beginning if it is large.
fn summary_of_event(event: &str, masker: &Masker) -> Json {
    if event.len() <= EVENT_CHARS {
        return Json::from_text(masker.json_text(format!("{{\"event\":{event}}}")));
    }
    let head: String = event.chars().take(EVENT_CHARS).collect();
    let head = masker.cut_text(&head);
    Json::from_text(json!({ "event_bytes": event.len(), "event_head": head }).to_string())
}

/// The stored part of a request.
#[derive(Serialize)]
struct RequestSummary<'r> {
    method: &'r str,
    path: Cow<'r, str>,
    params: Pairs<'r>,
    query: Pairs<'r>,
    headers: Pairs<'r>,
    remote_address: &'r str,
    body_bytes: usize,
    body: Option<String>,
}

/// The stored part of a response.
#[derive(Serialize)]
struct ResponseSummary<'r> {
    status: u16,
    headers: Pairs<'r>,
    body_bytes: usize,
    body: Option<String>,
}

type Pairs<'r> = Vec<(&'r str, Cow<'r, str>)>;

fn summary_of_request(request: &HttpRequest, masker: &Masker) -> serde_json::Result<Json> {
    let summary = RequestSummary {
        method: &request.method,
        path: cut(mask::path(&request.path, &request.params)),
        params: parameters(&request.params),
        query: parameters(&request.query),
        headers: headers(&request.headers),
        remote_address: &request.remote_address,
        body_bytes: request.raw.len(),
        body: body(&request.headers, &request.raw, masker),
    };
    masked(&summary, masker)
}

pub(super) fn summary_of_response(
    response: &Response,
    masker: &Masker,
) -> serde_json::Result<Json> {
    summary(response, response.body.len(), masker)
}

fn summary(response: &Response, body_bytes: usize, masker: &Masker) -> serde_json::Result<Json> {
    let summary = ResponseSummary {
        status: response.status,
        headers: headers(&response.headers),
        body_bytes,
        body: body(&response.headers, &response.body, masker),
    };
    masked(&summary, masker)
}

/// Serializes a summary with the secrets masked. Most runs have read none.
fn masked(summary: &impl Serialize, masker: &Masker) -> serde_json::Result<Json> {
    if masker.is_none() {
        return Json::of(summary);
    }
    Json::of(&masker.json(serde_json::to_value(summary)?))
}

/// Returns the headers in order, with credentials masked.
fn headers(pairs: &[(String, String)]) -> Pairs<'_> {
    kept(pairs.iter().map(|(name, value)| (name.as_str(), mask::header(name, value))))
}

/// Returns the parameters in order, with credentials masked.
fn parameters(pairs: &[(String, String)]) -> Pairs<'_> {
    kept(
        pairs
            .iter()
            .map(|(name, value)| (name.as_str(), Cow::Borrowed(mask::parameter(name, value)))),
    )
}

/// Returns the pairs that fit into a row, with long values cut. Untrusted callers send them.
fn kept<'p>(pairs: impl Iterator<Item = (&'p str, Cow<'p, str>)>) -> Pairs<'p> {
    let mut left = PAIRS_BYTES_MAX;
    let mut kept = Vec::new();
    for (name, value) in pairs {
        let value = cut(value);
        let Some(rest) = left.checked_sub(name.len() + value.len()) else {
            kept.push((CUT, Cow::Borrowed("")));
            break;
        };
        left = rest;
        kept.push((name, value));
    }
    kept
}

/// Cuts a long value.
fn cut(value: Cow<'_, str>) -> Cow<'_, str> {
    if value.len() <= VALUE_BYTES_MAX {
        return value;
    }
    let head = &value[..value.floor_char_boundary(VALUE_BYTES_MAX)];
    Cow::Owned(format!("{head}{CUT}"))
}

/// Returns the beginning of a body, with credentials in a form masked.
fn body(headers: &[(String, String)], raw: &[u8], masker: &Masker) -> Option<String> {
    let content_type = headers.iter().find(|(name, _)| name == "content-type");
    let shown = mask::body(content_type.map_or("", |(_, value)| value), raw);
    let head = preview(&shown)?;
    let is_whole = head.len() == shown.len();
    Some(if is_whole { masker.text(&head) } else { masker.cut_text(&head) }.into_owned())
}

/// Returns the beginning of a text body; `None` for a binary one.
fn preview(body: &[u8]) -> Option<String> {
    // A character has at most four bytes, and the last one can be cut.
    let head = &body[..body.len().min(PREVIEW_CHARS * 4)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    Some(text.chars().take(PREVIEW_CHARS).collect())
}

impl From<Status> for ExecutionStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Success => Self::Success,
            Status::Error => Self::Error,
            Status::Timeout => Self::Timeout,
            Status::BudgetExceeded => Self::BudgetExceeded,
            Status::MemoryExceeded => Self::MemoryExceeded,
            Status::LimitExceeded => Self::LimitExceeded,
            Status::Crashed => Self::Crashed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_the_beginning_of_a_text() {
        assert_eq!(preview(b"abc").as_deref(), Some("abc"));
        assert_eq!(preview(b"\xff\xfe"), None);
        let long = "ü€".repeat(PREVIEW_CHARS);
        assert_eq!(preview(long.as_bytes()).map(|text| text.chars().count()), Some(PREVIEW_CHARS));
    }

    #[test]
    fn credentials_are_not_kept() {
        let headers = [("authorization".to_owned(), "Bearer secret".to_owned())];
        assert_eq!(super::headers(&headers), [("authorization", Cow::Borrowed("***"))]);
    }

    #[test]
    fn what_strangers_send_is_kept_to_a_size() {
        let long = [("x-long".to_owned(), "ü".repeat(30_000))];
        let kept = super::headers(&long);
        assert!(kept[0].1.ends_with("ü…") && kept[0].1.len() <= VALUE_BYTES_MAX + CUT.len());
        let many: Vec<_> = (0..100).map(|n| (format!("x-{n}"), "v".repeat(1000))).collect();
        let kept = super::headers(&many);
        assert_eq!((kept.len(), kept[8].0), (9, CUT));
        assert_eq!(super::parameters(&many).len(), 9);
    }
}
