//! `/apps/{app}/files/{bucket}/{path}`: one file and its content.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{invalid, not_found};
use crate::auth::{Caller, Capability};
use crate::blobs::{self, Blobs, Described};
use crate::error::{Error, Refusal, Result};
use crate::events::effects::Written;
use crate::events::rules::{FILE_BYTES_MAX, check_file};
use crate::manager::ControlPlane;
use crate::manager::extract::{Names, Path};
use crate::serving::read_body;
use crate::store::{Resource, Space, Stamp};

/// The content type of a file that was sent without one.
const UNKNOWN_CONTENT: &str = "application/octet-stream";

/// The content type of a file, for programs. Browsers would act on `Content-Type`.
const STATED_CONTENT: HeaderName = HeaderName::from_static("x-picloud-content-type");

pub(super) fn api() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(get_file, put_file, delete_file))
}

/// The names in the path.
#[derive(Deserialize)]
struct FilePath {
    app: String,
    bucket: String,
    path: String,
}

impl Names for FilePath {
    const RESOURCE: Resource = Resource::File;
}

impl From<FilePath> for (String, String, String) {
    fn from(names: FilePath) -> Self {
        (names.app, names.bucket, names.path)
    }
}

/// A file, without its content.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct File {
    /// The bucket.
    pub bucket: String,
    /// The path.
    pub path: String,
    /// The size in bytes.
    pub size_bytes: i64,
    /// The content type that the sender stated.
    pub content_type: String,
    /// The SHA-256 of the content, in hexadecimal.
    pub sha256: String,
    /// The version, which grows with every change.
    pub version: i64,
    /// When the file was last changed, in microseconds since 1970.
    pub updated_at: i64,
}

/// Returns the content of a file, always as `application/octet-stream`: an uploaded page or
/// script must be saved by a browser, never shown or run. `X-PiCloud-Content-Type` holds the
/// file's content type.
#[utoipa::path(get, path = "/apps/{app}/files/{bucket}/{path}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("bucket" = String, Path, description = "The bucket"),
        ("path" = String, Path, description = "The path, percent-encoded")),
    responses((status = 200, description = "The content", content_type = "application/octet-stream",
        body = Vec<u8>)),
    security(("key" = ["log:read"])))]
async fn get_file(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(names): Path<FilePath>,
) -> Result<Response> {
    let capability = Capability::AppReadData;
    let (app, key) =
        control_plane.entry_key(&caller, capability, Space::Files, names.into()).await?;
    let entry = control_plane.find_entry(&app, &key).await?;
    let entry = entry.ok_or_else(|| not_found(Space::Files))?;
    let described: Described = entry.value.to().map_err(Error::internal)?;
    let content = control_plane.blobs()?.get(app.id.as_str(), &described).await;
    let content = content.map_err(Error::internal)?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(UNKNOWN_CONTENT));
    if let Ok(content_type) = HeaderValue::from_str(&described.content_type) {
        headers.insert(STATED_CONTENT, content_type);
    }
    headers.insert(header::CONTENT_DISPOSITION, attachment(&key.name));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        HeaderName::from_static("content-security-policy"),
        HeaderValue::from_static("sandbox; default-src 'none'"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok((headers, Body::from(content)).into_response())
}

/// Writes a file: the request's body, with its `Content-Type`. The triggers on its bucket fire.
#[utoipa::path(put, path = "/apps/{app}/files/{bucket}/{path}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("bucket" = String, Path, description = "The bucket"),
        ("path" = String, Path, description = "The path, percent-encoded")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, description = "The file", body = File)),
    security(("key" = ["script:write"])))]
async fn put_file(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(names): Path<FilePath>,
    request: Request,
) -> Result<Json<File>> {
    let capability = Capability::AppWriteData;
    let (app, key) =
        control_plane.entry_key(&caller, capability, Space::Files, names.into()).await?;
    let (head, body) = request.into_parts();
    let content_type = match head.headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str) {
        Some(Ok(content_type)) => content_type.to_owned(),
        Some(Err(_)) => {
            let message = "a content type must consist of ASCII characters";
            return Err(Error::Invalid(Refusal::new("entry_invalid", message)));
        }
        None => UNKNOWN_CONTENT.to_owned(),
    };
    let content = read_body(body, FILE_BYTES_MAX).await?;
    check_file(&content, &content_type).map_err(|violation| invalid(&violation))?;
    control_plane.store.check_room()?;
    let blob = control_plane.clock.new_id();
    let put = control_plane.blobs()?.put(app.id.as_str(), blob, content, content_type).await;
    let described = put.map_err(|error| {
        tracing::warn!(%error, "a file could not be written");
        blobs::refuse(&error)
    })?;
    let value = serde_json::to_string(&described).map_err(Error::internal)?;
    let written = Written { value: Some(value.into()), expires_at: None };
    let changed = control_plane.change_entry(&caller, &app, &key, written, None).await;
    if matches!(changed, Err(Error::StorageFull(_))) {
        let names = vec![blob.to_string()];
        let removed = control_plane.blobs()?.remove(app.id.as_str(), names).await;
        let warn = |error: &_| tracing::warn!(%error, "the content of a refused file remains");
        removed.inspect_err(warn).ok();
    }
    let Stamp { version, updated_at } = changed?.ok_or_else(|| not_found(Space::Files))?;
    Ok(Json(File {
        bucket: key.collection,
        path: key.name,
        size_bytes: described.size_bytes,
        content_type: described.content_type,
        sha256: described.sha256,
        version,
        updated_at,
    }))
}

/// Deletes a file. The triggers on its bucket fire.
#[utoipa::path(delete, path = "/apps/{app}/files/{bucket}/{path}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("bucket" = String, Path, description = "The bucket"),
        ("path" = String, Path, description = "The path, percent-encoded")),
    responses((status = 204, description = "The file is deleted")),
    security(("key" = ["script:write"])))]
async fn delete_file(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(names): Path<FilePath>,
) -> Result<StatusCode> {
    let capability = Capability::AppWriteData;
    let (app, key) =
        control_plane.entry_key(&caller, capability, Space::Files, names.into()).await?;
    control_plane.delete_entry(&caller, &app, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl ControlPlane {
    fn blobs(&self) -> Result<&Blobs> {
        let blobs = self.executor.blobs();
        blobs.ok_or_else(|| Error::internal("the executor has no data folder"))
    }
}

/// Names the file that a browser saves (RFC 6266, RFC 8187): the last part of its path.
fn attachment(path: &str) -> HeaderValue {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = percent_encoding::utf8_percent_encode(name, KEPT);
    HeaderValue::try_from(format!("attachment; filename*=UTF-8''{name}"))
        .unwrap_or(HeaderValue::from_static("attachment"))
}
