//! `/apps/{app}/kv` and `/apps/{app}/files`: what scripts keep, to look at.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Path, Query};
use super::lists::{List, Page, check_texts};
use crate::auth::{Caller, Capability};
use crate::error::{Error, Refusal, Result};
use crate::executor::entries::NAME_BYTES_MAX;
use crate::store::{self, App, EXCERPT_BYTES_MAX, EntryRange, Excerpt, Space};

/// A collection or a bucket.
#[derive(Debug, Serialize, ToSchema)]
pub struct Collection {
    /// Its name.
    name: String,
    /// How many entries it has; 1,000 stands for 1,000 or more.
    entries: i64,
    /// Grows with every change.
    version: i64,
}

/// A key and its value.
#[derive(Debug, Serialize, ToSchema)]
pub struct Entry {
    /// The key.
    name: String,
    /// The value. A list leaves out those of more than 4 KiB, see `value_is_left_out`.
    value: Value,
    /// The size of the value as JSON, in bytes.
    value_bytes: i64,
    /// Whether `value` is `null` because it is large:
    /// `GET /apps/{app}/kv/{collection}/{key}` has it.
    value_is_left_out: bool,
    /// Grows with every change.
    version: i64,
    /// When its time is up, in microseconds since 1970.
    expires_at: Option<i64>,
    /// When it was last changed, in microseconds since 1970.
    updated_at: i64,
}

/// A file of a bucket.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileEntry {
    /// The path.
    name: String,
    /// What is known about the file.
    value: FileFacts,
    /// The size of `value` as JSON, in bytes. The file's size is `value.size_bytes`.
    value_bytes: i64,
    /// Always `false`: `value` is small.
    value_is_left_out: bool,
    /// Grows with every change.
    version: i64,
    /// When its time is up, in microseconds since 1970.
    expires_at: Option<i64>,
    /// When it was last changed, in microseconds since 1970.
    updated_at: i64,
}

/// What is known about a file.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
pub struct FileFacts {
    /// The name of its content.
    blob: String,
    /// Its size, in bytes.
    size_bytes: i64,
    /// What kind of content it is.
    content_type: String,
    /// Its SHA-256 in hexadecimal.
    sha256: String,
}

/// A part of a bucket.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileEntries {
    /// The files, in the order of their paths' bytes.
    items: Vec<FileEntry>,
    /// The `after` of the next part; `null` on the last one.
    next_after: Option<String>,
}

/// A part of a collection.
#[derive(Debug, Serialize, ToSchema)]
pub struct Entries {
    /// The entries, in the order of their names' bytes.
    items: Vec<Entry>,
    /// The `after` of the next part; `null` on the last one.
    next_after: Option<String>,
}

/// Which collections.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CollectionsQuery {
    /// At most so many, 1 to 200; 50 when left out.
    limit: Option<i64>,
    /// Number of items to skip.
    offset: Option<i64>,
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EntriesQuery {
    /// Only names that begin so.
    prefix: Option<String>,
    /// Only names after this one.
    after: Option<String>,
    /// At most so many, 1 to 200; 50 when left out.
    limit: Option<i64>,
}

/// Lists an app's key-value collections by name.
#[utoipa::path(get, path = "/apps/{app}/kv", tag = "storage",
    params(("app" = String, Path, description = "The app's name"), CollectionsQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "A page of collections", body = List<Collection>)))]
pub(super) async fn list_collections(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<CollectionsQuery>,
) -> Result<Json<List<Collection>>> {
    let app = control_plane.app(&caller, &name, Capability::AppReadData).await?;
    list(&control_plane, Space::Kv, &app, &query).await
}

/// Lists an app's buckets by name.
#[utoipa::path(get, path = "/apps/{app}/files", tag = "storage",
    params(("app" = String, Path, description = "The app's name"), CollectionsQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "A page of buckets", body = List<Collection>)))]
pub(super) async fn list_buckets(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<CollectionsQuery>,
) -> Result<Json<List<Collection>>> {
    let app = control_plane.app(&caller, &name, Capability::AppReadData).await?;
    list(&control_plane, Space::Files, &app, &query).await
}

/// Lists the entries of a collection. Values of more than 4 KiB are left out.
#[utoipa::path(get, path = "/apps/{app}/kv/{collection}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("collection" = String, Path, description = "The collection"), EntriesQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "A part of the collection", body = Entries)))]
pub(super) async fn list_entries(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path((app, collection)): Path<(String, String)>,
    Query(query): Query<EntriesQuery>,
) -> Result<Json<Entries>> {
    let app = control_plane.app(&caller, &app, Capability::AppReadData).await?;
    let part = part(&control_plane, Space::Kv, &app, &collection, &query).await?;
    let entry = |Excerpt { row, full_bytes }: Excerpt<store::Entry>| Entry {
        name: row.name,
        value: row.value.value().unwrap_or_default(),
        value_bytes: full_bytes,
        value_is_left_out: full_bytes > EXCERPT_BYTES_MAX,
        version: row.version,
        expires_at: row.expires_at,
        updated_at: row.updated_at,
    };
    let (rows, next_after) = part;
    Ok(Json(Entries { items: rows.into_iter().map(entry).collect(), next_after }))
}

/// Lists the files of a bucket.
#[utoipa::path(get, path = "/apps/{app}/files/{bucket}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("bucket" = String, Path, description = "The bucket"), EntriesQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "A part of the bucket", body = FileEntries)))]
pub(super) async fn list_files(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path((app, bucket)): Path<(String, String)>,
    Query(query): Query<EntriesQuery>,
) -> Result<Json<FileEntries>> {
    let app = control_plane.app(&caller, &app, Capability::AppReadData).await?;
    let part = part(&control_plane, Space::Files, &app, &bucket, &query).await?;
    let file = |Excerpt { row, full_bytes }: Excerpt<store::Entry>| FileEntry {
        name: row.name,
        // Empty only in a damaged row.
        value: row.value.to().unwrap_or_default(),
        value_bytes: full_bytes,
        value_is_left_out: full_bytes > EXCERPT_BYTES_MAX,
        version: row.version,
        expires_at: row.expires_at,
        updated_at: row.updated_at,
    };
    let (rows, next_after) = part;
    Ok(Json(FileEntries { items: rows.into_iter().map(file).collect(), next_after }))
}

async fn list(
    control_plane: &ControlPlane,
    space: Space,
    app: &App,
    query: &CollectionsQuery,
) -> Result<Json<List<Collection>>> {
    let page = Page::new(query.limit, query.offset)?;
    let rows = control_plane.store.list_collections(&app.id, space, page.rows()).await?;
    Ok(Json(page.list(rows, |row| Collection {
        name: row.name,
        entries: row.entries,
        version: row.version,
    })))
}

/// A part of a collection or a bucket, and the `after` of the next one.
async fn part(
    control_plane: &ControlPlane,
    space: Space,
    app: &App,
    collection: &str,
    query: &EntriesQuery,
) -> Result<(Vec<Excerpt<store::Entry>>, Option<String>)> {
    let page = Page::new(query.limit, None)?;
    check_texts([Some(collection), query.prefix.as_deref(), query.after.as_deref()])?;
    if collection.len() > NAME_BYTES_MAX {
        let message = format!("a name has at most {NAME_BYTES_MAX} bytes");
        return Err(Error::Invalid(Refusal::new("query_invalid", message)));
    }
    let range = EntryRange {
        prefix: query.prefix.as_deref().unwrap_or_default(),
        after: query.after.as_deref(),
        limit: page.rows().limit,
    };
    let now = control_plane.clock.now_us();
    let rows = control_plane.store.list_entries(&app.id, space, collection, &range, now).await?;
    let List { items, next_offset, .. } = page.list(rows, |row| row);
    let next_after = next_offset.and(items.last().map(|last| last.row.name.clone()));
    Ok((items, next_after))
}
