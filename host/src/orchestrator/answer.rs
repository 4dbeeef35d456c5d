//! The stored response to the first request with an idempotency key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::executor::{Outcome, Status};
use crate::requests::{self, Pairs};
use crate::secrets::{MASK, RequestKey, Secrets, is_credential};
use crate::store::{AppId, ExecutionId, ExecutionStatus, Json};

/// A response, and the execution that produced it.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptAnswer {
    pub(super) execution_id: String,
    pub(super) status: u16,
    /// Without the values of credentials.
    headers: Pairs,
    /// Base64.
    body: String,
    /// The names and values of the credentials, as JSON and sealed, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

impl KeptAnswer {
    /// Returns the body's bytes.
    pub(super) fn body(&self) -> Result<Vec<u8>, base64::DecodeError> {
        STANDARD.decode(&self.body)
    }

    /// Returns the headers, without credentials whose key is lost.
    pub(super) async fn headers(
        &self,
        secrets: &Secrets,
        app_id: &AppId,
    ) -> Result<Pairs, crate::secrets::Error> {
        let mut headers = self.headers.clone();
        if let Some(sealed) = &self.sealed {
            let text = secrets.open_request(app_id, sealed).await?;
            let originals = text.and_then(|text| serde_json::from_str(&text).ok());
            requests::fill_headers(&mut headers, originals.unwrap_or_default());
        }
        headers.retain(|(name, value)| value != MASK || !is_credential(name));
        Ok(headers)
    }
}

/// Returns the response to store, or the error that the caller gets for a failure. Secrets that the
/// run has read are masked. Credentials that the response gives to its caller are sealed with
/// `key`.
pub(super) fn to_keep(
    id: &ExecutionId,
    outcome: &Outcome,
    key: Option<&RequestKey>,
    clock: &Clock,
) -> Option<Json> {
    let (status, mut headers, body): (u16, Pairs, Vec<u8>) = match &outcome.response {
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
    let originals = requests::mask_headers(&mut headers);
    let sealed = key.filter(|_| !originals.is_empty()).and_then(|key| {
        let text = Zeroizing::new(serde_json::to_string(&originals).ok()?);
        key.seal(clock, &text).ok()
    });
    let (execution_id, body) = (id.to_string(), STANDARD.encode(body));
    Json::of(&KeptAnswer { execution_id, status, headers, body, sealed }).ok()
}

/// Returns the status code and the body that describe a failed run to callers other than the owner.
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
