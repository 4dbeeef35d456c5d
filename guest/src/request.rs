//! Turns the contract's request into the script's `ctx`.

use std::collections::BTreeMap;

use picloud_shared::execution::{BodyKind, FormFile, HttpRequest, Input, RunRequest, without_bom};
use rhai::{Array, Blob, Dynamic, EvalAltResult, Map};

use crate::api::json;

/// The fields of `ctx`. A run has either `event` or `request`.
pub(crate) const FIELDS: [&str; 5] = ["app", "event", "execution", "request", "script"];
/// The fields of `ctx.execution`.
pub(crate) const EXECUTION_FIELDS: [&str; 3] = ["attempt", "id", "version"];
/// The fields of `ctx.request`.
pub(crate) const REQUEST_FIELDS: [&str; 13] = [
    "body",
    "files",
    "form",
    "form_all",
    "headers",
    "method",
    "params",
    "path",
    "query",
    "query_all",
    "raw",
    "raw_query",
    "remote_address",
];

/// The fields of `ctx.event`, besides the details under the name of its kind.
pub(crate) const EVENT_FIELDS: [&str; 7] =
    ["app", "attempt", "created_at", "depth", "id", "kind", "operation"];
/// The kinds of events, and the fields of their details.
pub(crate) const EVENT_KINDS: [(&str, &[&str]); 7] = [
    ("cron", &["due_at", "schedule", "zone"]),
    (
        "dead_letter",
        &[
            "attempts",
            "event",
            "first_attempt_at",
            "id",
            "last_attempt_at",
            "last_error",
            "script",
            "script_id",
            "script_version",
            "trigger_id",
        ],
    ),
    ("files", &["bucket", "content_type", "path", "sha256", "size"]),
    ("kv", &["collection", "key", "value"]),
    ("pubsub", &["payload", "topic"]),
    ("queue", &["payload", "queue"]),
    ("script", &["caller", "name", "payload"]),
];

/// Returns the value of `ctx`. Uses `from_map`, because `into` would copy the objects.
///
/// # Errors
/// Fails if an event is not JSON, or a body does not match its declared kind. The
/// host has already checked both.
pub(crate) fn context(request: RunRequest) -> Result<Map, Box<EvalAltResult>> {
    let info = request.execution;
    let mut execution = Map::new();
    execution.insert("id".into(), info.id.into());
    execution.insert("version".into(), info.version.into());
    execution.insert("attempt".into(), i64::from(info.attempt).into());

    let mut context = Map::new();
    context.insert("execution".into(), Dynamic::from_map(execution));
    context.insert("app".into(), info.app.into());
    context.insert("script".into(), info.script.into());
    match request.input {
        Input::Http(http) => {
            context.insert("request".into(), Dynamic::from_map(http_request(http)?))
        }
        Input::Event(event) => context.insert("event".into(), json::from_bytes(event.as_bytes())?),
    };
    Ok(context)
}

fn http_request(http: HttpRequest) -> Result<Map, Box<EvalAltResult>> {
    let body = match http.body {
        BodyKind::Empty => Dynamic::UNIT,
        BodyKind::Json => json::from_bytes(&http.raw)?,
        BodyKind::Text => match http.text {
            Some(text) => text.into(),
            None => {
                let text = str::from_utf8(without_bom(&http.raw));
                text.map_err(|error| error.to_string())?.into()
            }
        },
        BodyKind::Binary => Dynamic::from_blob(http.raw.clone()),
    };
    let mut request = Map::new();
    request.insert("method".into(), http.method.into());
    request.insert("path".into(), http.path.into());
    request.insert("params".into(), pairs(http.params));
    request.insert("query_all".into(), all(&http.query));
    request.insert("query".into(), pairs(http.query));
    request.insert("raw_query".into(), http.raw_query.into());
    request.insert("headers".into(), pairs(http.headers));
    request.insert("form_all".into(), all(&http.form));
    request.insert("form".into(), pairs(http.form));
    request.insert("files".into(), http.files.into_iter().map(file).collect::<Array>().into());
    request.insert("remote_address".into(), http.remote_address.into());
    request.insert("body".into(), body);
    request.insert("raw".into(), Dynamic::from_blob(Blob::from(http.raw)));
    Ok(request)
}

/// Returns an object of the pairs. If a name occurs more than once, the last value is used.
fn pairs(pairs: Vec<(String, String)>) -> Dynamic {
    Dynamic::from_map(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
}

/// Returns an object of the pairs, with an array of all values for each name.
fn all(pairs: &[(String, String)]) -> Dynamic {
    let mut values: BTreeMap<&str, Array> = BTreeMap::new();
    for (name, value) in pairs {
        values.entry(name).or_default().push(value.into());
    }
    let values = values.into_iter().map(|(name, values)| (name.into(), values.into()));
    Dynamic::from_map(values.collect())
}

fn file(file: FormFile) -> Dynamic {
    let mut shown = Map::new();
    shown.insert("name".into(), file.name.into());
    shown.insert("file_name".into(), file.file_name.into());
    shown.insert("content_type".into(), file.content_type.into());
    shown.insert("content".into(), Dynamic::from_blob(file.content));
    Dynamic::from_map(shown)
}

#[cfg(test)]
mod tests {
    use picloud_shared::execution::{AnswerKind, ExecutionInfo};

    use super::*;

    #[test]
    fn the_fields_that_are_known_are_those_that_exist() {
        let context = |input: Input| {
            let info = ExecutionInfo::default();
            let answer = AnswerKind::Response;
            context(RunRequest { execution: info, input, answer, call_depth_max: 1 }).unwrap()
        };
        let names = |map: &Map| map.keys().map(ToString::to_string).collect::<Vec<_>>();
        let by_request = context(Input::Http(HttpRequest::default()));
        let by_event = context(Input::Event("{}".to_owned()));
        let mut all = names(&by_request);
        all.extend(names(&by_event));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, FIELDS);
        let of = |field: &str| names(&by_request[field].as_map_ref().unwrap());
        assert_eq!(of("execution"), EXECUTION_FIELDS);
        assert_eq!(of("request"), REQUEST_FIELDS);
    }

    /// The host's tests send each event of the guide and compare it with `ctx.event`.
    #[test]
    fn the_fields_of_events_are_those_of_the_guide() {
        let guide = include_str!("../../docs/events.md");
        let mut kinds = Vec::new();
        for block in guide.split("```json\n").skip(1) {
            let text = block.split("```").next().unwrap();
            let Ok(event) = json::from_bytes(text.as_bytes()).unwrap().try_cast_result::<Map>()
            else {
                continue;
            };
            if !event.contains_key("operation") {
                continue;
            }
            let kind = event["kind"].clone().into_string().unwrap();
            let names = |map: &Map| map.keys().map(ToString::to_string).collect::<Vec<_>>();
            let mut fields = names(&event);
            fields.retain(|field| *field != kind);
            assert_eq!(fields, EVENT_FIELDS, "{kind}");
            let details = names(&event[&*kind].as_map_ref().unwrap());
            kinds.push((kind, details));
        }
        kinds.sort();
        let known = EVENT_KINDS.map(|(kind, fields)| {
            (kind.to_owned(), fields.iter().map(ToString::to_string).collect::<Vec<_>>())
        });
        assert_eq!(kinds, known);
    }
}
