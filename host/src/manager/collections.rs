//! `/apps/{app}/kv` and `/apps/{app}/files`: lists of the data that scripts store.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Path, Query};
use super::lists::{List, PageQuery, check_texts};
use crate::auth::{Caller, Capability};
use crate::error::{Error, Refusal, Result};
use crate::events::rules::NAME_BYTES_MAX;
use crate::json::Verbatim;
use crate::store::{self, App, EXCERPT_BYTES_MAX, EntryRange, Excerpt, Space};

/// A collection or a bucket.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Collection {
    /// The collection's name.
    pub name: String,
    /// The number of entries; 1,000 means 1,000 or more.
    pub entries: i64,
    /// A number that grows with every change.
    pub version: i64,
}

/// A key and its value.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Entry {
    /// The key.
    pub name: String,
    /// The value. Lists omit values of more than 4 KiB, see `value_is_left_out`.
    #[schema(value_type = Value)]
    pub value: Verbatim,
    /// The size of the value as JSON, in bytes.
    pub value_bytes: i64,
    /// Whether `value` is `null` because it is large. `GET /apps/{app}/kv/{collection}/{key}`
    /// returns it.
    pub value_is_left_out: bool,
    /// A number that grows with every change.
    pub version: i64,
    /// When it expires, in microseconds since 1970; `null` if it never does.
    pub expires_at: Option<i64>,
    /// When it was last changed, in microseconds since 1970.
    pub updated_at: i64,
}

/// A file of a bucket.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct FileEntry {
    /// The path.
    pub name: String,
    /// The file's metadata.
    pub value: FileFacts,
    /// The size of `value` as JSON, in bytes. The file's size is `value.size_bytes`.
    pub value_bytes: i64,
    /// Always `false`: `value` is small.
    pub value_is_left_out: bool,
    /// A number that grows with every change.
    pub version: i64,
    /// When it expires, in microseconds since 1970; `null` if it never does.
    pub expires_at: Option<i64>,
    /// When it was last changed, in microseconds since 1970.
    pub updated_at: i64,
}

/// The metadata of a file.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
pub struct FileFacts {
    /// The name of the blob that holds the content.
    pub blob: String,
    /// The size of the content, in bytes.
    pub size_bytes: i64,
    /// The content type.
    pub content_type: String,
    /// The SHA-256 of the content, in hexadecimal.
    pub sha256: String,
}

/// A page of a bucket.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileEntries {
    /// The files, in byte order of their paths.
    pub items: Vec<FileEntry>,
    /// The `after` of the next page; `null` on the last one.
    pub next_after: Option<String>,
}

/// A page of a collection.
#[derive(Debug, Serialize, ToSchema)]
pub struct Entries {
    /// The entries, in byte order of their names.
    pub items: Vec<Entry>,
    /// The `after` of the next page; `null` on the last one.
    pub next_after: Option<String>,
}

/// The page of collections to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CollectionsQuery {
    /// Number of items to return, 1 to 200. Default: 50.
    limit: Option<i64>,
    /// Number of items to skip.
    offset: Option<i64>,
}

/// Filters for a list of entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EntriesQuery {
    /// Only names that start with this prefix.
    prefix: Option<String>,
    /// Only names after this one, in byte order.
    after: Option<String>,
    /// Number of items to return, 1 to 200. Default: 50.
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

/// Lists the entries of a collection. Values of more than 4 KiB are omitted.
#[utoipa::path(get, path = "/apps/{app}/kv/{collection}", tag = "storage",
    params(("app" = String, Path, description = "The app's name"),
        ("collection" = String, Path, description = "The collection"), EntriesQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "A page of the collection", body = Entries)))]
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
        value: Verbatim(row.value.value().unwrap_or_default()),
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
    responses((status = 200, description = "A page of the bucket", body = FileEntries)))]
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
    let page = PageQuery::new(query.limit, query.offset)?;
    let rows = control_plane.store.list_collections(&app.id, space, page.rows()).await?;
    Ok(Json(page.list(rows, |row| Collection {
        name: row.name,
        entries: row.entries,
        version: row.version,
    })))
}

/// Reads a page of a collection or a bucket, and the `after` of the next one.
async fn part(
    control_plane: &ControlPlane,
    space: Space,
    app: &App,
    collection: &str,
    query: &EntriesQuery,
) -> Result<(Vec<Excerpt<store::Entry>>, Option<String>)> {
    let page = PageQuery::new(query.limit, None)?;
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
