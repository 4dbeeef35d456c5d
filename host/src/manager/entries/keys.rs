//! `/apps/{app}/kv/{collection}/{key}`: one key and its value.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{invalid, not_found};
use crate::auth::{Caller, Capability};
use crate::error::{Error, Refusal, Result};
use crate::events::effects::{EntryKey, Written};
use crate::events::{payload, rules};
use crate::json::Verbatim;
use crate::manager::ControlPlane;
use crate::manager::extract::{Names, Path, parsed};
use crate::serving::read_body;
use crate::store::{Entry, Resource, Space, Stamp};

pub(super) fn api() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(get_key, set_key, delete_key))
}

/// The names in the path.
#[derive(Deserialize)]
struct KeyPath {
    app: String,
    collection: String,
    key: String,
}

impl Names for KeyPath {
    const RESOURCE: Resource = Resource::Key;
}

impl From<KeyPath> for (String, String, String) {
    fn from(names: KeyPath) -> Self {
        (names.app, names.collection, names.key)
    }
}

/// A key and its value.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Key {
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: String,
    /// The value.
    #[schema(value_type = Value)]
    pub value: Verbatim,
    /// The version, which grows with every change.
    pub version: i64,
    /// When the key expires, in microseconds since 1970; `null` if it never does.
    pub expires_at: Option<i64>,
    /// When the key was last changed, in microseconds since 1970.
    pub updated_at: i64,
}

/// A value to set.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetKey {
    /// The value: any JSON.
    #[schema(value_type = Value)]
    pub value: Verbatim,
    /// Time to live in milliseconds. Without it the key never expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<i64>,
    /// Sets the value only if the key has this version; 0 stands for a key that does not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_version: Option<i64>,
}

/// Returns a key and its value.
#[utoipa::path(get, path = "/apps/{app}/kv/{collection}/{key}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("collection" = String, Path, description = "The collection"),
        ("key" = String, Path, description = "The key, percent-encoded")),
    responses((status = 200, description = "The key and its value", body = Key)),
    security(("key" = ["log:read"])))]
async fn get_key(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(names): Path<KeyPath>,
) -> Result<Json<Key>> {
    let capability = Capability::AppReadData;
    let (app, key) = control_plane.entry_key(&caller, capability, Space::Kv, names.into()).await?;
    let entry = control_plane.find_entry(&app, &key).await?;
    Ok(Json(shown(key, &entry.ok_or_else(|| not_found(Space::Kv))?)))
}

/// Sets the value of a key. The triggers on its collection fire.
#[utoipa::path(put, path = "/apps/{app}/kv/{collection}/{key}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("collection" = String, Path, description = "The collection"),
        ("key" = String, Path, description = "The key, percent-encoded")),
    request_body = SetKey,
    responses((status = 200, description = "The key and its value", body = Key)),
    security(("key" = ["script:write"])))]
async fn set_key(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(names): Path<KeyPath>,
    request: Request,
) -> Result<Json<Key>> {
    let capability = Capability::AppWriteData;
    let (app, key) = control_plane.entry_key(&caller, capability, Space::Kv, names.into()).await?;
    let body = read_body(request.into_body(), control_plane.request_bytes_max).await?;
    let wanted: SetKey = parsed(&body)?;
    let value = wanted.value.0.to_string();
    payload::check(&value, control_plane.ceiling.value_bytes_max).map_err(|refused| {
        Error::Invalid(Refusal::new("entry_invalid", format!("the value {refused}")))
    })?;
    let now = control_plane.clock.now_us();
    let expires_at = rules::expiry(now, wanted.ttl_ms).map_err(|violation| invalid(&violation))?;
    let written = Written { value: Some(value.into()), expires_at };
    // The response shows what was written. Reading it back could show another caller's change,
    // or nothing, if the key has expired.
    let stamp = control_plane.change_entry(&caller, &app, &key, written, wanted.if_version).await?;
    let Stamp { version, updated_at } = stamp.ok_or_else(|| not_found(Space::Kv))?;
    let EntryKey { collection, name: key, .. } = key;
    Ok(Json(Key { collection, key, value: wanted.value, version, expires_at, updated_at }))
}

/// Deletes a key. The triggers on its collection fire.
#[utoipa::path(delete, path = "/apps/{app}/kv/{collection}/{key}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("collection" = String, Path, description = "The collection"),
        ("key" = String, Path, description = "The key, percent-encoded")),
    responses((status = 204, description = "The key is deleted")),
    security(("key" = ["script:write"])))]
async fn delete_key(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(names): Path<KeyPath>,
) -> Result<StatusCode> {
    let capability = Capability::AppWriteData;
    let (app, key) = control_plane.entry_key(&caller, capability, Space::Kv, names.into()).await?;
    control_plane.delete_entry(&caller, &app, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(key: EntryKey, entry: &Entry) -> Key {
    Key {
        collection: key.collection,
        key: key.name,
        value: Verbatim(entry.value.value().unwrap_or_default()),
        version: entry.version,
        expires_at: entry.expires_at,
        updated_at: entry.updated_at,
    }
}
