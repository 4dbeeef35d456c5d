//! The stored request, response and log of an execution. The orchestrator writes the rows. These
//! types describe them, and `tests/api/executions.rs` compares them with real rows.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The input that started an execution: for a request, `method` and the fields after it; for an
/// event, `event`; for an event too large to be stored, `event_bytes` and `event_head`. A script
/// that another script called has none of them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
pub struct RecordedRequest {
    /// The method.
    method: Option<String>,
    /// The path as it was sent.
    path: Option<String>,
    /// The parameters of the route's pattern: name and value.
    params: Option<Vec<(String, String)>>,
    /// The query parameters: name and value, in order.
    query: Option<Vec<(String, String)>>,
    /// The headers: name and value, in order. The value of a credential is omitted.
    headers: Option<Vec<(String, String)>>,
    /// The caller's address.
    remote_address: Option<String>,
    /// The size of the body, in bytes.
    body_bytes: Option<i64>,
    /// The beginning of the body; `null` if it is empty or not text.
    body: Option<String>,
    /// The event, as the script saw it in `ctx.event`.
    #[schema(value_type = Option<Object>)]
    event: Option<Value>,
    /// The size of a large event, in bytes.
    event_bytes: Option<i64>,
    /// The beginning of a large event.
    event_head: Option<String>,
}

/// A script's response.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
pub struct RecordedResponse {
    /// The status.
    status: u16,
    /// The headers: name and value, in order. The value of a credential is omitted.
    headers: Vec<(String, String)>,
    /// The size of the body, in bytes.
    body_bytes: i64,
    /// The beginning of the body; `null` if it is empty or not text.
    body: Option<String>,
}

/// A line of a script's log, as clients read it.
#[derive(Debug, Deserialize)]
pub struct RecordedLine {
    /// The level: `trace`, `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// The text.
    pub message: String,
    /// Structured data as JSON text.
    pub data: Option<String>,
    /// The line of the script that wrote it, from 1; 0 if it is not known.
    pub line: u32,
}
