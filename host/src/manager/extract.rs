//! Extractors for the API's requests. They report errors in the API's own form.
//!
//! Invariant: the API never returns one of axum's plain-text errors.

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
use crate::events::rules::FILE_BYTES_MAX;
use crate::json;
use crate::requests::coding;
use crate::serving::{self, read_body};
use crate::store::{
    ApiKeyId, DeadLetterId, EventId, ExecutionId, Resource, RouteId, ScriptId, TriggerId, UserId,
};

/// The largest body that the admin API reads, in bytes: a source of the largest size with every
/// character escaped, and the rest of its request.
pub const BODY_BYTES_MAX: usize = 2 << 20;

/// A JSON body. Its errors are reported only on [`Body::read`], so that a caller without access
/// learns that first, and not details about its input.
pub struct Body<T>(Result<T, Error>);

impl<T> Body<T> {
    /// Returns the parsed body.
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

/// Reads and parses the body. Refuses an array in the place of an object, see [`json`].
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

/// Middleware that refuses a compressed body with 415, and names the accepted codings (RFC 9110,
/// section 12.5.3). Otherwise the JSON parser would call it damaged, and a file would not match its
/// `Content-Type`.
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

/// Parses a JSON body that was read whole.
///
/// # Errors
/// `Invalid`, with the position of the error.
pub fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    json::from_slice(body).map_err(|error| Error::body_invalid(&error))
}

/// The paths below `/api/v1` whose operations accept bodies larger than [`BODY_BYTES_MAX`].
#[derive(Clone)]
pub struct LargeBodies(Arc<HashSet<String>>);

/// The paths of the manager among them; the data plane has others.
const LARGE: [&str; 3] =
    ["/apps/{app}/kv/{collection}/{key}", "/apps/{app}/events", "/triggers/{id}/fire"];

impl LargeBodies {
    /// Collects the paths that `doc` describes.
    pub fn of(doc: &OpenApi) -> Self {
        let others = LARGE.into_iter().map(str::to_owned);
        Self(Arc::new(doc.paths.paths.keys().cloned().chain(others).collect()))
    }
}

/// The path of file uploads.
const FILE_PATH: &str = "/apps/{app}/files/{bucket}/{path}";

/// Middleware that refuses a body with too large a `Content-Length` before the guard reads it.
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

/// The parsed query parameters.
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

/// The parsed path parameters. A value that cannot be a valid name or id is a 404.
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

/// Path parameters that name a resource.
pub trait Names {
    /// The resource of the 404 error if the parameters are not valid.
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

/// A domain of an app, or a member of it.
impl Names for (String, String) {
    const RESOURCE: Resource = Resource::Domain;
}

/// A version of a script.
impl Names for (ScriptId, i64) {
    const RESOURCE: Resource = Resource::Version;
}
