//! What came into an execution and what came out of it, as its row keeps them. The
//! orchestrator writes the rows; these types describe them, and `tests/api/executions.rs`
//! compares them with real ones.

use serde_json::Value;
use utoipa::ToSchema;

/// What started an execution. Of a request `method` and what follows, of an event `event`, of
/// an event that is too large to be kept `event_bytes` and `event_head`; of a script that
/// another one called nothing.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
pub struct RecordedRequest {
    /// The method.
    method: Option<String>,
    /// The path as it came.
    path: Option<String>,
    /// What the route's pattern has found in the path: name and value.
    params: Option<Vec<(String, String)>>,
    /// The parameters of the query: name and value, in order.
    query: Option<Vec<(String, String)>>,
    /// Name and value, in order; of a credential only its name.
    headers: Option<Vec<(String, String)>>,
    /// The caller's address.
    remote_address: Option<String>,
    /// The size of the body, in bytes.
    body_bytes: Option<i64>,
    /// The beginning of the body; `null` if it is empty or no text.
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
    /// Name and value, in order; of a credential only its name.
    headers: Vec<(String, String)>,
    /// The size of the body, in bytes.
    body_bytes: i64,
    /// The beginning of the body; `null` if it is empty or no text.
    body: Option<String>,
}
