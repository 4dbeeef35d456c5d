//! Keys and files by hand: read, written and deleted through the API.
//!
//! A change takes the way that a run's changes take, one commit with the events of the
//! triggers that listen, so that nobody has to know who made it.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use picloud_shared::calls::{HostError, HostResult};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Caller, Capability, Change};
use crate::blobs::{Blobs, Described};
use crate::error::{Error, Refusal};
use crate::events::causes::{self, Cause};
use crate::events::effects::{EntryKey, Written};
use crate::executor::entries::{FILE_BYTES_MAX, check_file, check_json, expiry};
use crate::json;
use crate::json::Verbatim;
use crate::orchestrator::Orchestrator;
use crate::serving::read_body;
use crate::store::{
    self, App, AuditEntry, Commit, Committed, Conflict, Entry, EntryName, Read, Resource, Space,
    Stamp,
};

/// What a file is when its sender does not say.
const UNKNOWN_CONTENT: &str = "application/octet-stream";

/// What a file is, for programs: `Content-Type` would tell browsers.
const STATED_CONTENT: HeaderName = HeaderName::from_static("x-picloud-content-type");

/// The endpoints, to be merged into the API below `/api/v1`.
pub fn api() -> OpenApiRouter<Orchestrator> {
    OpenApiRouter::new().routes(routes!(get_key, set_key, delete_key)).routes(routes!(
        get_file,
        put_file,
        delete_file
    ))
}

/// A key and its value.
#[derive(Debug, Serialize, ToSchema)]
pub struct Key {
    /// The collection.
    collection: String,
    /// The key.
    key: String,
    /// The value.
    value: Value,
    /// Grows with every change.
    version: i64,
    /// When its time is up, in microseconds since 1970.
    expires_at: Option<i64>,
    /// When it was last changed, in microseconds since 1970.
    updated_at: i64,
}

/// A value to be set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetKey {
    /// The value: any JSON.
    #[schema(value_type = Value)]
    value: Verbatim,
    /// After so many milliseconds it is gone; never when left out.
    ttl_ms: Option<i64>,
    /// Only if the key is at this version; 0 for one that is not there.
    if_version: Option<i64>,
}

/// A file, without its content.
#[derive(Debug, Serialize, ToSchema)]
pub struct File {
    /// The bucket.
    bucket: String,
    /// The path.
    path: String,
    /// Its size.
    size_bytes: i64,
    /// What kind of content it is.
    content_type: String,
    /// Its SHA-256 in hexadecimal.
    sha256: String,
    /// Grows with every change.
    version: i64,
    /// When it was last changed, in microseconds since 1970.
    updated_at: i64,
}

type Names = Result<Path<(String, String, String)>, PathRejection>;

/// Shows a key and its value.
#[utoipa::path(get, path = "/apps/{app}/kv/{collection}/{key}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("collection" = String, Path, description = "The collection"),
        ("key" = String, Path, description = "The key, percent-encoded")),
    responses((status = 200, description = "The key and its value", body = Key)),
    security(("key" = ["log:read"])))]
async fn get_key(
    State(orchestrator): State<Orchestrator>,
    caller: Caller,
    names: Names,
) -> Result<Json<Key>, Error> {
    let (app, key) = orchestrator.named(&caller, Capability::AppReadData, Space::Kv, names).await?;
    let entry = orchestrator.entry(&app, &key).await?.ok_or_else(|| nothing(Space::Kv))?;
    Ok(Json(shown(key, &entry)))
}

/// Sets a key's value. Triggers that listen to its collection fire.
#[utoipa::path(put, path = "/apps/{app}/kv/{collection}/{key}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("collection" = String, Path, description = "The collection"),
        ("key" = String, Path, description = "The key, percent-encoded")),
    request_body = SetKey,
    responses((status = 200, description = "The key and its value", body = Key)),
    security(("key" = ["script:write"])))]
async fn set_key(
    State(orchestrator): State<Orchestrator>,
    caller: Caller,
    names: Names,
    request: Request,
) -> Result<Json<Key>, Error> {
    let (app, key) =
        orchestrator.named(&caller, Capability::AppWriteData, Space::Kv, names).await?;
    let parts = &orchestrator.parts;
    let body = read_body(request.into_body(), parts.request_bytes_max).await?;
    let wanted: SetKey = json::from_slice(&body).map_err(|error| Error::body_invalid(&error))?;
    let value = wanted.value.0.to_string();
    checked(check_json("the value", &value, parts.ceiling.value_bytes_max))?;
    let expires_at = checked(expiry(parts.clock.now_us(), wanted.ttl_ms))?;
    let written = Written { value: Some(value.into()), expires_at };
    // What was written, and not what is read back: its time may be up, or another caller may
    // have changed it.
    let stamp = orchestrator.change(&caller, &app, &key, written, wanted.if_version).await?;
    let Stamp { version, updated_at } = stamp.ok_or_else(|| nothing(Space::Kv))?;
    let EntryKey { collection, name: key, .. } = key;
    Ok(Json(Key { collection, key, value: wanted.value.0, version, expires_at, updated_at }))
}

/// Deletes a key. Triggers that listen to its collection fire.
#[utoipa::path(delete, path = "/apps/{app}/kv/{collection}/{key}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("collection" = String, Path, description = "The collection"),
        ("key" = String, Path, description = "The key, percent-encoded")),
    responses((status = 204, description = "It is gone")),
    security(("key" = ["script:write"])))]
async fn delete_key(
    State(orchestrator): State<Orchestrator>,
    caller: Caller,
    names: Names,
) -> Result<StatusCode, Error> {
    orchestrator.delete(&caller, Space::Kv, names).await
}

/// Sends a file's content, always as `application/octet-stream`: it may be a page or a script
/// that somebody else has uploaded, and a browser must save it and never show or run it.
/// `X-PiCloud-Content-Type` has the file's content type.
#[utoipa::path(get, path = "/apps/{app}/files/{bucket}/{path}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("bucket" = String, Path, description = "The bucket"),
        ("path" = String, Path, description = "The path, percent-encoded")),
    responses((status = 200, description = "The content", content_type = "application/octet-stream",
        body = Vec<u8>)),
    security(("key" = ["log:read"])))]
async fn get_file(
    State(orchestrator): State<Orchestrator>,
    caller: Caller,
    names: Names,
) -> Result<Response, Error> {
    let (app, key) =
        orchestrator.named(&caller, Capability::AppReadData, Space::Files, names).await?;
    let entry = orchestrator.entry(&app, &key).await?.ok_or_else(|| nothing(Space::Files))?;
    let described: Described = entry.value.to().map_err(Error::internal)?;
    let content = orchestrator.blobs()?.get(app.id.as_str(), &described).await;
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

/// Writes a file: the body, whatever it is, with its `Content-Type`. Triggers that listen
/// to its bucket fire.
#[utoipa::path(put, path = "/apps/{app}/files/{bucket}/{path}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("bucket" = String, Path, description = "The bucket"),
        ("path" = String, Path, description = "The path, percent-encoded")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, description = "The file", body = File)),
    security(("key" = ["script:write"])))]
async fn put_file(
    State(orchestrator): State<Orchestrator>,
    caller: Caller,
    names: Names,
    request: Request,
) -> Result<Json<File>, Error> {
    let (app, key) =
        orchestrator.named(&caller, Capability::AppWriteData, Space::Files, names).await?;
    let (head, body) = request.into_parts();
    let content_type = match head.headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str) {
        Some(Ok(content_type)) => content_type.to_owned(),
        Some(Err(_)) => {
            let message = "a content type must have ASCII characters only";
            return Err(Error::Invalid(Refusal::new("entry_invalid", message)));
        }
        None => UNKNOWN_CONTENT.to_owned(),
    };
    let content = read_body(body, FILE_BYTES_MAX).await?;
    checked(check_file(&content, &content_type))?;
    orchestrator.parts.store.check_room()?;
    let blob = orchestrator.parts.clock.new_id();
    let put = orchestrator.blobs()?.put(app.id.as_str(), blob, content, content_type).await;
    let described = put.map_err(|error| {
        tracing::warn!(%error, "a file could not be written");
        crate::blobs::refuse(&error)
    })?;
    let value = serde_json::to_string(&described).map_err(Error::internal)?;
    let written = Written { value: Some(value.into()), expires_at: None };
    let changed = orchestrator.change(&caller, &app, &key, written, None).await;
    if matches!(changed, Err(Error::StorageFull(_))) {
        let names = vec![blob.to_string()];
        let removed = orchestrator.blobs()?.remove(app.id.as_str(), names).await;
        let warn = |error: &_| tracing::warn!(%error, "the contents of a refused file remain");
        removed.inspect_err(warn).ok();
    }
    let Stamp { version, updated_at } = changed?.ok_or_else(|| nothing(Space::Files))?;
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

/// Deletes a file. Triggers that listen to its bucket fire.
#[utoipa::path(delete, path = "/apps/{app}/files/{bucket}/{path}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("bucket" = String, Path, description = "The bucket"),
        ("path" = String, Path, description = "The path, percent-encoded")),
    responses((status = 204, description = "It is gone")),
    security(("key" = ["script:write"])))]
async fn delete_file(
    State(orchestrator): State<Orchestrator>,
    caller: Caller,
    names: Names,
) -> Result<StatusCode, Error> {
    orchestrator.delete(&caller, Space::Files, names).await
}

impl Orchestrator {
    async fn named(
        &self,
        caller: &Caller,
        capability: Capability,
        space: Space,
        names: Names,
    ) -> Result<(App, EntryKey), Error> {
        let Path((app, collection, name)) = names.map_err(|_| nothing(space))?;
        let app = self.app(caller, &app, capability, Resource::App).await?;
        Ok((app, checked(EntryKey::checked(space, collection, name))?))
    }

    async fn entry(&self, app: &App, key: &EntryKey) -> Result<Option<Entry>, Error> {
        let name = EntryName { space: key.space, collection: &key.collection, name: &key.name };
        Ok(self.parts.store.find_entry(&app.id, name, self.parts.clock.now_us()).await?)
    }

    fn blobs(&self) -> Result<&Blobs, Error> {
        let blobs = self.parts.executor.blobs();
        blobs.ok_or_else(|| Error::internal("the executor has no data folder"))
    }

    async fn delete(
        &self,
        caller: &Caller,
        space: Space,
        names: Names,
    ) -> Result<StatusCode, Error> {
        let (app, key) = self.named(caller, Capability::AppWriteData, space, names).await?;
        self.entry(&app, &key).await?.ok_or_else(|| nothing(space))?;
        self.change(caller, &app, &key, Written { value: None, expires_at: None }, None).await?;
        Ok(StatusCode::NO_CONTENT)
    }

    /// Commits one change with what follows from it. Returns the version of what was written.
    async fn change(
        &self,
        caller: &Caller,
        app: &App,
        key: &EntryKey,
        written: Written,
        if_version: Option<i64>,
    ) -> Result<Option<Stamp>, Error> {
        let at = self.parts.clock.now_us();
        let principal = caller.principal.to_string();
        let cause = Cause {
            app_id: &app.id,
            app: &app.name,
            script: None,
            execution_id: None,
            depth: 0,
            principal: &principal,
            clock: &self.parts.clock,
            at,
        };
        let seen = |version| Read {
            collection: cause.collection(key.space, &key.collection),
            name: Some(key.name.clone()),
            version,
            until: None,
        };
        let audit = Arc::new(self.entry_of_change(caller, app, key, &written));
        let committed = self.definitions.commit(|table| {
            Ok(Commit {
                reads: if_version.map(seen).into_iter().collect(),
                events: causes::of_change(&cause, 0, key, &written, table),
                writes: vec![causes::write(&cause, key, &written)],
                at,
                audit: Some(Arc::clone(&audit)),
                is_limited: true,
                ..Commit::default()
            })
        });
        let (committed, stamp) = committed.await?;
        match committed {
            Committed::Done => Ok(stamp),
            Committed::Full(full) => {
                Err(store::Error::Conflict(Conflict::StorageFull(full)).into())
            }
            Committed::Conflict | Committed::Stale | Committed::LeaseLost => {
                let message = "the key is at another version by now";
                Err(Error::Conflict(Refusal::new("version_conflict", message)))
            }
        }
    }
}

impl Orchestrator {
    /// Who has changed an entry by hand; not what it holds, which is the app's.
    fn entry_of_change(
        &self,
        caller: &Caller,
        app: &App,
        key: &EntryKey,
        written: &Written,
    ) -> AuditEntry {
        let (action, resource) = match (key.space, written.value.is_some()) {
            (Space::Kv, true) => ("set_key", Resource::Key),
            (Space::Kv, false) => ("delete_key", Resource::Key),
            (Space::Files, true) => ("put_file", Resource::File),
            (Space::Files, false) => ("delete_file", Resource::File),
        };
        let change = Change::new(action, resource, &key.collection, &key.name).in_app(&app.id);
        caller.entry(&self.parts.clock, change)
    }
}

fn shown(key: EntryKey, entry: &Entry) -> Key {
    Key {
        collection: key.collection,
        key: key.name,
        value: entry.value.value().unwrap_or_default(),
        version: entry.version,
        expires_at: entry.expires_at,
        updated_at: entry.updated_at,
    }
}

fn nothing(space: Space) -> Error {
    Error::not_found(match space {
        Space::Kv => Resource::Key,
        Space::Files => Resource::File,
    })
}

/// What a script would be told, as the API's refusal.
fn checked<T>(result: HostResult<T>) -> Result<T, Error> {
    result.map_err(|error| match error {
        HostError::Failed { message } => Error::Invalid(Refusal::new("entry_invalid", message)),
        HostError::Limit(limit) => Error::internal(format!("{limit:?}")),
    })
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
