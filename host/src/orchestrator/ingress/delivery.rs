//! Requests that are stored before they run (`durable` and `async` routes), and the repeated
//! response to the same `Idempotency-Key`.
//!
//! ```text
//!  durable  store ─▶ wait ─▶ the script's response, 202 after a timeout,
//!                            409 if it is cancelled at this node
//!  async    store ─▶ 202
//! ```
//!
//! Invariant: a request is on disk before it is answered.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use picloud_shared::execution::HttpRequest;
use serde_json::json;
use tokio::sync::oneshot;

use super::reply;
use crate::definitions::Target;
use crate::error::{Error, Refusal};
use crate::events::Common;
use crate::orchestrator::answer::KeptAnswer;
use crate::orchestrator::inbox::Reply;
use crate::orchestrator::work::RecordedRun;
use crate::orchestrator::{OWNER, Orchestrator};
use crate::requests;
use crate::requests::idempotency::{REPLAYED, reused};
use crate::store::{self, Accepted, AppId, Delivery, EventId, NewKey, TriggerKind};

/// The interval between looks for a response that another node computes: nothing notifies this
/// node. The caller's timeout bounds the number of looks.
const ANSWER_POLL: Duration = Duration::from_millis(250);

impl Orchestrator {
    /// Stores a request and answers it according to its route.
    ///
    /// # Errors
    /// `Unavailable` if it could not be stored. The request is then not accepted.
    pub(super) async fn deliver_request(
        &self,
        target: &Target,
        delivery: Delivery,
        request: &HttpRequest,
        key: Option<NewKey>,
        sees_logs: bool,
    ) -> Result<Response, Error> {
        let parts = &self.parts;
        let common = Common {
            clock: &parts.clock,
            app_id: &target.app_id,
            principal: OWNER,
            depth: 0,
            caused_by: None,
            created_at: parts.clock.now_us(),
        };
        let place = (&parts.secrets, &parts.clock);
        let payload = requests::to_store(place, &target.app_id, request).await?;
        let mut event = common.stored(TriggerKind::Http, &request.method, "", payload);
        let id = event.id.clone();
        let waits = delivery == Delivery::Durable;
        let told = if waits { self.inbox.wait(&id) } else { None };
        event.script_id = Some(target.script_id.clone());
        event.reply_to = told.is_some().then(|| parts.node.clone());
        let key = key.map(|key| NewKey { event_id: id.clone(), ..key });
        // A task, so that the request is stored even if the caller disconnects. The wait below ends
        // with the caller, and the event is then delivered like any other.
        let store = parts.store.clone();
        let stored = tokio::spawn(async move { store.append_events(vec![event], key).await });
        let accepted = stored.await.map_err(Error::internal)?;
        match accepted {
            // The event depends on no definitions, so the append cannot be stale.
            Ok(Accepted::Appended | Accepted::Dropped | Accepted::Stale) => {}
            Ok(Accepted::Reused) => {
                drop(told);
                self.inbox.forget(&id);
                return Err(reused());
            }
            Ok(Accepted::Replayed(first)) => {
                drop(told);
                self.inbox.forget(&id);
                let mut answer =
                    self.answer_again(&target.app_id, &first, waits, sees_logs).await?;
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

    /// Returns the first response to an event, or a 202 if no response exists yet. If another node
    /// computes the response, that node leaves it in the database.
    async fn answer_again(
        &self,
        app_id: &AppId,
        id: &EventId,
        waits: bool,
        sees_logs: bool,
    ) -> Result<Response, Error> {
        if !waits {
            return Ok(accepted_answer(id));
        }
        // Registered before looking, so that a response in between is not missed.
        let mut told = self.inbox.wait(id);
        let found = tokio::time::timeout(self.parts.events.reply_wait(), async {
            loop {
                if let Some(found) = self.find_answer(id).await? {
                    return Ok(found);
                }
                let coming = async {
                    match &mut told {
                        Some(told) => told.await.ok(),
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    coming = coming => match coming {
                        Some(coming) => return Ok(First::Coming(coming)),
                        None => told = None,
                    },
                    () = tokio::time::sleep(ANSWER_POLL) => {}
                }
            }
        });
        let found: Result<First, Error> = match found.await {
            Ok(found) => found,
            // The response may have arrived just after the timeout.
            Err(_) => Ok(told.as_mut().map_or(First::None, |told| {
                told.close();
                told.try_recv().map_or(First::None, First::Coming)
            })),
        };
        drop(told);
        self.inbox.forget(id);
        match found? {
            First::Stored(answer) => self.stored(app_id, &answer).await,
            First::Coming(coming) => told_answer(id, coming, sees_logs).await,
            First::None => Ok(accepted_answer(id)),
        }
    }

    /// Returns the first response if it is stored. Returns [`First::None`] if the event is done
    /// without one: its first caller was told of a failure.
    async fn find_answer(&self, id: &EventId) -> Result<Option<First>, Error> {
        let store = &self.parts.store;
        if let Some(answer) = store.find_first_answer(id).await? {
            return Ok(Some(First::Stored(answer)));
        }
        match store.find_event(id).await {
            Ok(_) => Ok(None),
            // The event ended between the two lookups.
            Err(store::Error::NotFound(_)) => {
                let answer = store.find_first_answer(id).await?;
                Ok(Some(answer.map_or(First::None, First::Stored)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for a response; returns 202 after a timeout.
    async fn wait_for(
        &self,
        id: &EventId,
        mut told: oneshot::Receiver<oneshot::Receiver<Reply>>,
        sees_logs: bool,
    ) -> Result<Response, Error> {
        let coming = match tokio::time::timeout(self.parts.events.reply_wait(), &mut told).await {
            Ok(coming) => coming.map_err(|_| cancelled(id))?,
            Err(_) => {
                told.close();
                match told.try_recv() {
                    // The response arrived just after the timeout.
                    Ok(coming) => coming,
                    Err(_) => {
                        self.inbox.forget(id);
                        self.parts.store.forget_reply(id).await?;
                        return Ok(accepted_answer(id));
                    }
                }
            }
        };
        told_answer(id, coming, sees_logs).await
    }

    /// Returns a stored response again.
    async fn stored(&self, app_id: &AppId, answer: &store::Json) -> Result<Response, Error> {
        let answer: KeptAnswer = answer.to().map_err(Error::internal)?;
        let mut response = Response::new(Body::from(answer.body().map_err(Error::internal)?));
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
        for (name, value) in answer.headers(&self.parts.secrets, app_id).await? {
            if let (Ok(name), Ok(value)) =
                (name.parse::<HeaderName>(), HeaderValue::from_str(&value))
            {
                response.headers_mut().append(name, value);
            }
        }
        if let Ok(id) = HeaderValue::from_str(&answer.execution_id) {
            response.headers_mut().insert(reply::EXECUTION_ID, id);
        }
        Ok(response)
    }
}

/// The state of the first response to an event.
enum First {
    /// It was sent, and is stored.
    Stored(store::Json),
    /// It is on its way to this node.
    Coming(oneshot::Receiver<Reply>),
    /// No response exists, or not before the timeout.
    None,
}

/// Waits for a response that is on its way: a commit decides whether it is sent.
async fn told_answer(
    id: &EventId,
    coming: oneshot::Receiver<Reply>,
    sees_logs: bool,
) -> Result<Response, Error> {
    let reply = coming.await.map_err(|_| lost(id))?;
    let finished = Arc::try_unwrap(reply).unwrap_or_else(|shared| RecordedRun::clone(&shared));
    Ok(reply::answer(finished, sees_logs))
}

fn lost(id: &EventId) -> Error {
    Error::Unavailable {
        refusal: Refusal::new("answer_lost", "the response could not be stored; try again")
            .with("event_id", id.as_str()),
        retry_after_s: 1,
    }
}

/// The error of an event that was cancelled before it ran. Not a 503, so that clients do not retry
/// it automatically.
fn cancelled(id: &EventId) -> Error {
    let refusal = Refusal::new("event_cancelled", "the request was cancelled before it ran");
    Error::Conflict(refusal.with("event_id", id.as_str()))
}

/// Returns 202 with the ids to ask for the result.
fn accepted_answer(id: &EventId) -> Response {
    let body = json!({ "event_id": id.as_str(), "execution_id": id.as_str() });
    let mut answer = (StatusCode::ACCEPTED, Json(body)).into_response();
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        answer.headers_mut().insert(reply::EXECUTION_ID, value);
    }
    answer
}
