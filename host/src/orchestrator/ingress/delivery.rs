//! Requests that are stored before they are run: `durable` and `async` routes, and
//! the same answer to the same `Idempotency-Key`.
//!
//! ```text
//!  durable  store ─▶ wait ─▶ the script's answer, or 202 when it takes too long
//!  async    store ─▶ 202
//! ```
//!
//! Invariant: what was answered with 202, or at all, is on disk.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use picloud_shared::execution::HttpRequest;
use serde_json::json;

use super::reply;
use crate::error::{Error, Refusal};
use crate::orchestrator::answer::KeptAnswer;
use crate::orchestrator::inbox::Reply;
use crate::orchestrator::matching::Target;
use crate::orchestrator::run::Finished;
use crate::orchestrator::{OWNER, Orchestrator, event};
use crate::store::{self, Accepted, AppId, Delivery, EventId, NewEvent, NewKey, TriggerKind};

/// A caller's name for a request that may come more than once
/// (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that was given before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest key, in characters.
const KEY_CHARS_MAX: usize = 255;

/// The idempotency key that a request came with, in the scope of what was asked.
///
/// # Errors
/// `Invalid` for one that is empty, too long or no printable ASCII.
pub(super) fn key_of(
    headers: &HeaderMap,
    app_id: &AppId,
    scope: String,
    at: i64,
) -> Result<Option<NewKey>, Error> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = key.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > KEY_CHARS_MAX {
        let reason = format!("must be 1 to {KEY_CHARS_MAX} printable ASCII characters");
        return Err(Error::Invalid(Refusal::field("Idempotency-Key", &reason)));
    }
    let (app_id, key) = (app_id.clone(), key.to_owned());
    let event_id = uuid::Uuid::nil().into();
    let (answer, answer_when_dropped) = (None, None);
    Ok(Some(NewKey { app_id, scope, key, event_id, answer, answer_when_dropped, created_at: at }))
}

impl Orchestrator {
    /// Stores a request and answers it as its route says.
    ///
    /// # Errors
    /// `Unavailable` when it could not be stored: nothing was accepted.
    pub(super) async fn deliver_request(
        &self,
        target: &Target,
        delivery: Delivery,
        request: &HttpRequest,
        key: Option<NewKey>,
        sees_logs: bool,
    ) -> Result<Response, Error> {
        let parts = &self.parts;
        let id = EventId::from(parts.clock.new_id());
        let waits = delivery == Delivery::Durable;
        let told = if waits { self.inbox.wait(&id) } else { None };
        let event = NewEvent {
            id: id.clone(),
            app_id: target.app_id.clone(),
            trigger_id: None,
            script_id: Some(target.script_id.clone()),
            script_version: None,
            kind: TriggerKind::Http,
            operation: request.method.clone(),
            source: String::new(),
            payload: event::of_request(request).map_err(Error::internal)?,
            principal: OWNER.to_owned(),
            depth: 0,
            delay_us: 0,
            reply_to: told.is_some().then(|| parts.node.clone()),
            dedupe_key: None,
            dead_letter_id: None,
            caused_by: None,
            created_at: parts.clock.now_us(),
        };
        let key = key.map(|key| NewKey { event_id: id.clone(), ..key });
        // Stored also when the caller goes away meanwhile; the waiting below ends with
        // the caller, and the event is then one like any other.
        let store = parts.store.clone();
        let stored = tokio::spawn(async move { store.append_events(vec![event], key).await });
        let accepted = stored.await.map_err(Error::internal)?;
        match accepted {
            Ok(Accepted::Appended | Accepted::Dropped) => {}
            Ok(Accepted::Replayed(first)) => {
                drop(told);
                self.inbox.forget(&id);
                let mut answer = self.answer_again(&first, waits, sees_logs).await?;
                answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                return Ok(answer);
            }
            Err(error) => {
                drop(told);
                self.inbox.forget(&id);
                return Err(error.into());
            }
        }
        match told {
            Some(told) => self.wait_for(&id, told, sees_logs).await,
            None => Ok(accepted_answer(&id)),
        }
    }

    /// The first answer to an event, or what can be said while there is none.
    async fn answer_again(
        &self,
        id: &EventId,
        waits: bool,
        sees_logs: bool,
    ) -> Result<Response, Error> {
        if !waits {
            return Ok(accepted_answer(id));
        }
        // Registered before looking, so that an answer in between is not missed.
        let told = self.inbox.wait(id);
        if let Some(answer) = self.parts.store.find_first_answer(id).await? {
            drop(told);
            self.inbox.forget(id);
            return stored(&answer);
        }
        match (told, self.parts.store.find_event(id).await) {
            (Some(told), Ok(_)) => self.wait_for(id, told, sees_logs).await,
            (told, _) => {
                drop(told);
                self.inbox.forget(id);
                // Done without an answer: the first caller was told of a failure.
                match self.parts.store.find_first_answer(id).await? {
                    Some(answer) => stored(&answer),
                    None => Ok(accepted_answer(id)),
                }
            }
        }
    }

    /// Waits for an answer; 202 when it does not come in time.
    async fn wait_for(
        &self,
        id: &EventId,
        mut told: tokio::sync::oneshot::Receiver<tokio::sync::oneshot::Receiver<Reply>>,
        sees_logs: bool,
    ) -> Result<Response, Error> {
        let lost = || Error::Unavailable {
            refusal: Refusal::new("answer_lost", "the answer could not be stored; ask again")
                .with("event_id", id.as_str()),
            retry_after_s: 1,
        };
        let coming = match tokio::time::timeout(self.parts.events.reply_wait(), &mut told).await {
            Ok(coming) => coming.map_err(|_| lost())?,
            Err(_) => {
                told.close();
                match told.try_recv() {
                    // It came at the last moment.
                    Ok(coming) => coming,
                    Err(_) => {
                        self.inbox.forget(id);
                        self.parts.store.forget_reply(id).await?;
                        return Ok(accepted_answer(id));
                    }
                }
            }
        };
        // From here it takes a commit, which answers or fails.
        let reply = coming.await.map_err(|_| lost())?;
        let finished = Arc::try_unwrap(reply).unwrap_or_else(|shared| Finished::clone(&shared));
        Ok(reply::answer(finished, sees_logs))
    }
}

/// 202: it is stored, and this is how to ask for it.
fn accepted_answer(id: &EventId) -> Response {
    let body = json!({ "event_id": id.as_str(), "execution_id": id.as_str() });
    let mut answer = (StatusCode::ACCEPTED, Json(body)).into_response();
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        answer.headers_mut().insert(reply::EXECUTION_ID, value);
    }
    answer
}

/// An answer that was given before.
fn stored(answer: &store::Json) -> Result<Response, Error> {
    let answer: KeptAnswer = answer.to().map_err(Error::internal)?;
    let mut response = Response::new(Body::from(answer.body().map_err(Error::internal)?));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            response.headers_mut().append(name, value);
        }
    }
    if let Ok(id) = HeaderValue::from_str(&answer.execution_id) {
        response.headers_mut().insert(reply::EXECUTION_ID, id);
    }
    Ok(response)
}
