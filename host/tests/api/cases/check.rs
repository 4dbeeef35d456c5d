//! Compares the result of a case with what it expects.

use serde_json::{Value, json};

use super::Expectations;
use crate::app::Answer;

/// The result of a case.
pub(crate) struct Came {
    status: String,
    response: Value,
    error: Value,
    log: Vec<Value>,
}

impl Came {
    /// A source that was refused.
    pub(crate) fn of_a_refusal(answer: &Answer) -> Self {
        let status =
            if answer.status == 422 { "refused".to_owned() } else { answer.status.to_string() };
        let error = answer.json()["error"].clone();
        Self { status, response: Value::Null, error, log: Vec::new() }
    }

    /// A run by `POST /execute/{id}`.
    pub(crate) fn of_a_run(answer: &Value) -> Self {
        Self {
            status: answer["status"].as_str().unwrap_or_default().to_owned(),
            response: answer["response"].clone(),
            error: answer["error"].clone(),
            log: answer["log"].as_array().cloned().unwrap_or_default(),
        }
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let headers = self.response["headers"].as_array().map(Vec::as_slice).unwrap_or_default();
        headers.iter().map(|pair| {
            (pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default())
        })
    }
}

/// Returns the differences.
pub(crate) fn complaints(expected: &Expectations, came: &Came) -> Vec<String> {
    let Came { response, error, .. } = came;
    if came.status != expected.status {
        // The error itself says more than a difference of the status.
        return vec![format!(
            "status: {} expected, {} came: {error}",
            expected.status, came.status
        )];
    }
    let mut wrong = Vec::new();
    let mut compare = |what: &str, wanted: Option<Value>, got: Value| {
        if wanted.as_ref().is_some_and(|wanted| *wanted != got) {
            wrong.push(format!("{what}: {} expected, {got} came", wanted.unwrap_or_default()));
        }
    };

    compare("http", expected.http.map(Value::from), response["status"].clone());
    let body = response["body"].as_str().unwrap_or_default();
    compare("text", expected.text.clone().map(Value::from), json!(body));
    let parsed = serde_json::from_str(body).unwrap_or(json!("what is not JSON"));
    compare("body", expected.body.clone(), parsed);
    if expected.base64.is_some() {
        compare("body_encoding", Some(json!("base64")), response["body_encoding"].clone());
    }
    compare("base64", expected.base64.clone().map(Value::from), json!(body));
    let is_type = |name: &str| name == "content-type";
    let content_type =
        came.headers().find(|(name, _)| is_type(name)).map_or("", |(_, value)| value);
    compare("content_type", expected.content_type.clone().map(Value::from), json!(content_type));
    let others = came.headers().filter(|(name, _)| !is_type(name));
    let others: Vec<_> = others.map(|(name, value)| format!("{name}: {value}")).collect();
    compare("headers", expected.headers.clone().map(Value::from), json!(others));

    compare("line", expected.line.map(Value::from), error["line"].clone());
    compare("column", expected.column.map(Value::from), error["column"].clone());
    let message = error["message"].as_str().unwrap_or_default();
    if expected.message.as_ref().is_some_and(|part| !message.contains(part.as_str())) {
        compare("message", expected.message.clone().map(Value::from), json!(message));
    }
    compare("thrown", expected.thrown.clone(), parsed_text(&error["thrown"]));
    compare("limit", expected.limit.clone().map(Value::from), error["limit"]["limit"].clone());
    compare("used", expected.used.map(Value::from), error["limit"]["used"].clone());
    compare("allowed", expected.allowed.map(Value::from), error["limit"]["allowed"].clone());

    compare("log_lines", expected.log_lines.map(Value::from), json!(came.log.len()));
    if let Some(lines) = &expected.log {
        compare("log lines", Some(json!(lines.len())), json!(came.log.len()));
        for (number, (wanted, got)) in lines.iter().zip(&came.log).enumerate() {
            for (member, wanted) in wanted.as_object().into_iter().flatten() {
                let got =
                    if member == "data" { parsed_text(&got["data"]) } else { got[member].clone() };
                compare(&format!("log {number} {member}"), Some(wanted.clone()), got);
            }
        }
    }
    wrong
}

/// A run depends only on its request and the host's replies, so both runs must be equal.
pub(crate) fn complaints_about_a_repetition(first: &Value, second: &Value) -> Vec<String> {
    ["status", "response", "error", "log", "fuel_used"]
        .into_iter()
        .filter(|same| first[same] != second[same])
        .map(|same| format!("{same}: {} at first, {} again", first[same], second[same]))
        .collect()
}

fn parsed_text(json: &Value) -> Value {
    json.as_str().map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or_default())
}
