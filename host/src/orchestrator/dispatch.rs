//! One run: from its target to its row.

use std::time::Duration;

use picloud_shared::execution::{ExecutionInfo, HttpRequest, Input, NEVER, RunRequest};
use serde::Serialize;
use serde_json::{Value, json};

use super::Orchestrator;
use super::matching::Target;
use crate::error::Error;
use crate::executor::{Image, Outcome, Response, Status};
use crate::store::{Execution, ExecutionId, ExecutionStatus, Json, TriggerKind};

/// How long a finished run waits for room in the buffer of rows. Longer, and the
/// answer would be late because of a row that the caller does not need.
const RECORD_TIMEOUT: Duration = Duration::from_secs(1);

/// How much of a body a row keeps, in characters.
const PREVIEW_CHARS: usize = 1024;

/// Headers whose values are credentials: a row keeps only that they were there.
const MASKED: [&str; 5] =
    ["authorization", "cookie", "set-cookie", "proxy-authorization", "x-api-key"];

/// A run that has ended and been recorded.
pub(super) struct Finished {
    pub(super) execution_id: ExecutionId,
    pub(super) outcome: Outcome,
}

impl Orchestrator {
    /// Runs `target` on `request` and records what it came to.
    ///
    /// # Errors
    /// `Unavailable` when no slot came free in time or the source cannot be read.
    /// The script's own failure is an outcome.
    pub(super) async fn run(
        &self,
        target: &Target,
        trigger_kind: TriggerKind,
        request: HttpRequest,
    ) -> Result<Finished, Error> {
        let parts = &self.parts;
        let execution_id = ExecutionId::from(parts.clock.new_id());
        let summary = summary_of_request(&request);
        let outcome = match self.image(target).await? {
            Ok(image) => {
                let limits = parts.ceiling.grant_at_most(&target.budget);
                let request = RunRequest {
                    execution: ExecutionInfo {
                        id: execution_id.to_string(),
                        app: target.app.clone(),
                        script: target.script.clone(),
                        version: target.version,
                        attempt: 1,
                    },
                    input: Input::Http(request),
                    call_depth_max: limits.call_depth_max,
                    stop_at_operation: NEVER,
                };
                parts.executor.execute(image, request, limits).await?
            }
            Err(not_compiled) => Outcome { started_at: parts.clock.now_us(), ..*not_compiled },
        };
        parts.metrics.executed(
            ExecutionStatus::from(outcome.status).as_str(),
            outcome.duration_us,
            outcome.fuel_used,
        );
        self.record(target, trigger_kind, &execution_id, &summary, &outcome).await;
        Ok(Finished { execution_id, outcome })
    }

    /// The target's image; compiled now if it was not lately.
    async fn image(&self, target: &Target) -> Result<Result<Image, Box<Outcome>>, Error> {
        let parts = &self.parts;
        if let Some(image) = parts.executor.image(&target.source_sha256).await {
            return Ok(Ok(image));
        }
        let source = parts.store.find_script_version(&target.script_id, target.version).await?;
        let compiled = parts.executor.compile(&source.source).await?;
        // Checked when it was uploaded; a newer interpreter may think otherwise.
        Ok(compiled.map_err(|error| Box::new(Outcome::not_compiled(&error))))
    }

    /// Hands the row over. A row that cannot be kept is a warning: it must never
    /// hide what the run came to.
    async fn record(
        &self,
        target: &Target,
        trigger_kind: TriggerKind,
        id: &ExecutionId,
        request: &Value,
        outcome: &Outcome,
    ) {
        let row = match row(target, trigger_kind, id, request, outcome) {
            Ok(row) => row,
            Err(error) => {
                tracing::warn!(%id, %error, "an execution has no row");
                return;
            }
        };
        match tokio::time::timeout(RECORD_TIMEOUT, self.parts.store.record(row)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%id, %error, "an execution was not recorded"),
            Err(_) => tracing::warn!(%id, "an execution was not recorded: the database is behind"),
        }
    }
}

fn row(
    target: &Target,
    trigger_kind: TriggerKind,
    id: &ExecutionId,
    request: &Value,
    outcome: &Outcome,
) -> serde_json::Result<Execution> {
    let natural = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    Ok(Execution {
        id: id.clone(),
        app_id: target.app_id.clone(),
        script_id: target.script_id.clone(),
        script_name: target.script.clone(),
        version: target.version,
        status: outcome.status.into(),
        trigger_kind,
        attempt: 1,
        request: Json::of(request)?,
        response: outcome
            .response
            .as_ref()
            .map(summary_of_response)
            .map(|value| Json::of(&value))
            .transpose()?,
        log: Json::of(&outcome.log)?,
        error: outcome.failure.as_ref().map(Json::of).transpose()?,
        fuel_used: natural(outcome.fuel_used),
        memory_peak_bytes: natural(outcome.memory_peak_bytes),
        duration_us: outcome.duration_us,
        started_at: outcome.started_at,
        finished_at: outcome.started_at.saturating_add(outcome.duration_us),
    })
}

fn summary_of_request(request: &HttpRequest) -> Value {
    json!({
        "method": request.method,
        "path": request.path,
        "params": pairs(&request.params),
        "query": request.query,
        "headers": pairs(&request.headers),
        "remote_address": request.remote_address,
        "body_bytes": request.raw.len(),
        "body": preview(&request.raw),
    })
}

fn summary_of_response(response: &Response) -> impl Serialize {
    json!({
        "status": response.status,
        "headers": pairs(&response.headers),
        "body_bytes": response.body.len(),
        "body": preview(&response.body),
    })
}

/// Name and value, in order; a credential's value is not kept.
fn pairs(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs
        .iter()
        .map(|(name, value)| {
            let shown = if MASKED.contains(&name.as_str()) { "***" } else { value };
            (name.as_str(), shown)
        })
        .collect()
}

/// The beginning of a body that is text; nothing of one that is not.
fn preview(body: &[u8]) -> Option<String> {
    // A character has at most four bytes, and the last one may have been cut.
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
        assert_eq!(pairs(&headers), [("authorization", "***")]);
    }
}
