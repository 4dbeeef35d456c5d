//! What a handler takes from a request, refused in the platform's own words.
//!
//! Invariant: no answer of the API is one of axum's plain texts.

use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{self, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::{Error, Refusal};
use crate::json;
use crate::serving::{BodiesFull, is_too_slow};
use crate::store::{
    ApiKeyId, DeadLetterId, EventId, ExecutionId, Resource, RouteId, ScriptId, TriggerId, UserId,
};

/// The largest body that the admin API reads, in bytes: a source of the largest
/// size with every character escaped, and the rest of its request.
pub const BODY_BYTES_MAX: usize = 2 << 20;

/// A JSON body. It is read only when it is asked for, so that who may not do something
/// is told that, and not what is wrong with how they asked.
pub struct Body<T>(Result<T, Error>);

impl<T> Body<T> {
    /// What was sent.
    ///
    /// # Errors
    /// `Invalid`, `TooLarge`.
    pub fn read(self) -> Result<T, Error> {
        self.0
    }
}

impl<S, T> FromRequest<S> for Body<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        Ok(Self(match taken(request, state).await {
            Ok((body, text)) => json::check_objects::<T>(&text)
                .map(|()| body)
                .map_err(|error| Error::body_invalid(&error)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Error::Invalid(Refusal::new(
                "body_not_json",
                "the body must be JSON, with `Content-Type: application/json`",
            ))),
            Err(rejection) if rejection.status().as_u16() == 413 => {
                let message = format!("the body is larger than {BODY_BYTES_MAX} bytes");
                let refusal = Refusal::new("body_too_large", message);
                Err(Error::TooLarge(refusal.with("most", BODY_BYTES_MAX)))
            }
            Err(rejection) if is_too_slow(&rejection) => Err(Error::body_too_slow()),
            Err(rejection) if BodiesFull::is_cause_of(&rejection) => Err(BodiesFull::refuse()),
            Err(rejection) => {
                Err(Error::Invalid(Refusal::new("body_invalid", rejection.body_text())))
            }
        }))
    }
}

/// What was sent, and its text: an object in it must not be an array, see [`json`].
async fn taken<S, T>(request: Request, state: &S) -> Result<(T, Bytes), JsonRejection>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    let (parts, body) = request.into_parts();
    let text = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await?;
    let request = Request::from_parts(parts, text.clone().into());
    let extract::Json(body) = extract::Json::from_request(request, state).await?;
    Ok((body, text))
}

/// The parameters of the query.
pub struct Query<T>(pub T);

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let taken = extract::Query::from_request_parts(parts, state).await;
        let extract::Query(query) = taken.map_err(|rejection: QueryRejection| {
            Error::Invalid(Refusal::new("query_invalid", rejection.body_text()))
        })?;
        Ok(Self(query))
    }
}

/// What is named in the path. What cannot be a name is the name of nothing: 404.
pub struct Path<T>(pub T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Names + Send,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match extract::Path::from_request_parts(parts, state).await {
            Ok(extract::Path(named)) => Ok(Self(named)),
            Err(_) => Err(Error::not_found(T::RESOURCE)),
        }
    }
}

/// Parameters of a path that name something.
pub trait Names {
    /// What is not there when they name nothing.
    const RESOURCE: Resource;
}

impl Names for String {
    const RESOURCE: Resource = Resource::App;
}

impl Names for ScriptId {
    const RESOURCE: Resource = Resource::Script;
}

impl Names for RouteId {
    const RESOURCE: Resource = Resource::Route;
}

impl Names for ExecutionId {
    const RESOURCE: Resource = Resource::Execution;
}

impl Names for TriggerId {
    const RESOURCE: Resource = Resource::Trigger;
}

impl Names for EventId {
    const RESOURCE: Resource = Resource::Event;
}

impl Names for DeadLetterId {
    const RESOURCE: Resource = Resource::DeadLetter;
}

impl Names for UserId {
    const RESOURCE: Resource = Resource::User;
}

impl Names for ApiKeyId {
    const RESOURCE: Resource = Resource::ApiKey;
}

/// A domain of an app, or one of its members.
impl Names for (String, String) {
    const RESOURCE: Resource = Resource::Domain;
}

/// A version of a script.
impl Names for (ScriptId, i64) {
    const RESOURCE: Resource = Resource::Version;
}
