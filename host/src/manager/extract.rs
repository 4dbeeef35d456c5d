//! What a handler takes from a request, refused in the platform's own words.
//!
//! Invariant: no answer of the API is one of axum's plain texts.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{self, FromRequest, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use picloud_shared::execution::without_bom;
use serde::de::DeserializeOwned;
use utoipa::openapi::OpenApi;

use crate::error::{Error, Refusal};
use crate::executor::entries::FILE_BYTES_MAX;
use crate::json;
use crate::requests::coding;
use crate::serving::{self, read_body};
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
    /// `Invalid`, or one of [`read_body`].
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
        Ok(Self(taken(request, state).await))
    }
}

/// What was sent. An object in it must not be an array, see [`json`].
async fn taken<S, T>(request: Request, state: &S) -> Result<T, Error>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    let (parts, body) = request.into_parts();
    let body = Bytes::from(read_body(body, BODY_BYTES_MAX).await?);
    let text = body.slice_ref(without_bom(&body));
    let request = Request::from_parts(parts, text.clone().into());
    let extract::Json(read) =
        extract::Json::from_request(request, state).await.map_err(|rejection| match rejection {
            JsonRejection::MissingJsonContentType(_) => Error::Invalid(Refusal::new(
                "body_not_json",
                "the body must be JSON, with `Content-Type: application/json`",
            )),
            rejection => Error::Invalid(Refusal::new("body_invalid", rejection.body_text())),
        })?;
    json::check_objects::<T>(&text).map_err(|error| Error::body_invalid(&error))?;
    Ok(read)
}

/// Middleware that refuses a request whose body is compressed: 415 with the codings that are
/// accepted (RFC 9110, section 12.5.3). A reader of JSON would call it damaged, and a file would
/// be stored as something else than its `Content-Type` says.
pub async fn refuse_codings(request: Request, next: Next) -> Response {
    match coding::Coding::of(request.headers()) {
        Ok(None) => next.run(request).await,
        Ok(Some(_)) | Err(_) => {
            let message = "the API takes no Content-Encoding; send the body as it is";
            Error::Unsupported {
                refusal: Refusal::new("content_encoding_unsupported", message),
                accepted: "identity",
            }
            .into_response()
        }
    }
}

/// The paths below `/api/v1` whose operations take larger bodies than [`BODY_BYTES_MAX`].
#[derive(Clone)]
pub struct LargeBodies(Arc<HashSet<String>>);

impl LargeBodies {
    /// Those of the operations that `doc` describes.
    pub fn of(doc: &OpenApi) -> Self {
        Self(Arc::new(doc.paths.paths.keys().cloned().collect()))
    }
}

/// Where files are put.
const FILE_PATH: &str = "/apps/{app}/files/{bucket}/{path}";

/// Middleware that refuses a body that is announced to be too large, before the guard reads it.
pub async fn refuse_announced(
    State(large): State<LargeBodies>,
    matched: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let path = matched.as_str();
    let bytes_max = match path.strip_prefix("/api/v1").unwrap_or(path) {
        FILE_PATH => FILE_BYTES_MAX,
        path if large.0.contains(path) => return next.run(request).await,
        _ => BODY_BYTES_MAX,
    };
    match serving::refuse_announced(request.body(), bytes_max) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
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
