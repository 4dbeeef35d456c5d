//! The first answer to an idempotency key, as it is kept to be given again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use serde_json::{Value, json};

use crate::executor::{Outcome, Status};
use crate::store::{ExecutionId, ExecutionStatus, Json};

/// A response, and the execution that made it.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptAnswer {
    pub(super) execution_id: String,
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// Base64.
    body: String,
}

impl KeptAnswer {
    /// The body's bytes.
    pub(super) fn body(&self) -> Result<Vec<u8>, base64::DecodeError> {
        STANDARD.decode(&self.body)
    }
}

/// The answer to keep: the response, or the failure that a caller is told of. Secrets
/// that the run has read are masked in it, because it is stored.
pub(super) fn to_keep(id: &ExecutionId, outcome: &Outcome) -> Option<Json> {
    let (status, headers, body) = match &outcome.response {
        Some(response) => {
            let masker = &outcome.masker;
            let headers = response.headers.iter();
            let headers =
                headers.map(|(name, value)| (name.clone(), masker.text(value).into_owned()));
            (response.status, headers.collect(), masker.bytes(&response.body).into_owned())
        }
        None => {
            let (status, body) = failure(outcome.status, id);
            let json = ("content-type".to_owned(), "application/json".to_owned());
            (status, vec![json], body.to_string().into_bytes())
        }
    };
    let (execution_id, body) = (id.to_string(), STANDARD.encode(body));
    Json::of(&KeptAnswer { execution_id, status, headers, body }).ok()
}

/// What a caller who is not the owner learns of a failed run: its status, and the body.
pub(super) fn failure(status: Status, id: &ExecutionId) -> (u16, Value) {
    let code = match status {
        Status::Timeout => 504,
        _ => 500,
    };
    let error = json!({
        "code": format!("execution_{}", ExecutionStatus::from(status).as_str()),
        "message": "the script failed",
        "execution_id": id.as_str(),
    });
    (code, json!({ "error": error }))
}
