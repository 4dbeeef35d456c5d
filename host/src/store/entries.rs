//! Entries: the keys of collections and the paths of buckets. They are read here and written by
//! [`super::commit`].
//!
//! Invariant: an expired entry is never returned, even while its row still exists.

use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, FromRow};

use super::signals::Touches;
use super::{AppId, Excerpt, Json, Page, Reads, Result, Space, Store, excerpt};

/// The maximum number of entries counted in one collection.
pub const ENTRIES_COUNTED_MAX: i64 = 1_000;

/// A stored entry.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Entry {
    /// The key or the path.
    pub name: String,
    /// The value; for a file, the description of its blob.
    pub value: Json,
    /// The collection's version after the change; unique within a collection.
    pub version: i64,
    /// When it expires, µs.
    pub expires_at: Option<i64>,
    /// When it was last changed, µs.
    pub updated_at: i64,
}

impl Entry {
    /// Whether the entry has not expired at the time `now`, µs.
    pub(super) fn is_there_at(&self, now: i64) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }
}

/// A collection or a bucket, and its number of entries.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Collection {
    /// Its name.
    pub name: String,
    /// The version; grows with every change.
    pub version: i64,
    /// The number of entries, at most [`ENTRIES_COUNTED_MAX`].
    pub entries: i64,
}

/// Selects a part of a collection.
#[derive(Debug, Clone)]
pub struct EntryRange<'a> {
    /// Only names with this prefix.
    pub prefix: &'a str,
    /// Only names after this one.
    pub after: Option<&'a str>,
    /// The maximum number of entries.
    pub limit: i64,
}

/// The names of an entry, without its app.
#[derive(Debug, Clone, Copy)]
pub struct EntryName<'a> {
    /// Whether it is a key or a file path.
    pub space: Space,
    /// The collection or the bucket.
    pub collection: &'a str,
    /// The key or the path.
    pub name: &'a str,
}

/// Binds the parameters of [`Reads::part_query`].
macro_rules! bind_part {
    ($query:expr, $app_id:expr, $space:expr, $collection:expr, $range:expr, $now:expr, $end:expr) => {{
        let query = $query
            .bind($app_id)
            .bind($space.as_str())
            .bind($collection)
            .bind($now)
            .bind($range.prefix)
            .bind($range.after.unwrap_or_default())
            .bind($range.limit);
        match $end {
            Some(end) => query.bind(end),
            None => query,
        }
    }};
}

impl Reads {
    /// Returns the stored entry, if it exists at the time `now`, µs.
    pub(super) async fn query_entry(
        &self,
        app_id: &AppId,
        entry: EntryName<'_>,
        now: i64,
    ) -> Result<Option<Entry>> {
        let found = sqlx::query_as(
            "SELECT name, value, version, expires_at, updated_at FROM entries \
             WHERE app_id = $1 AND space = $2 AND collection = $3 AND name = $4 \
             AND (expires_at IS NULL OR expires_at > $5)",
        )
        .bind(app_id)
        .bind(entry.space.as_str())
        .bind(entry.collection)
        .bind(entry.name)
        .bind(now)
        .fetch_optional(self.reads())
        .await?;
        Ok(found)
    }

    /// Returns the version of a collection; 0 if nothing was ever written to it.
    pub async fn find_collection_version(
        &self,
        app_id: &AppId,
        space: Space,
        collection: &str,
    ) -> Result<i64> {
        let version = sqlx::query_scalar(
            "SELECT version FROM collections WHERE app_id = $1 AND space = $2 AND name = $3",
        )
        .bind(app_id)
        .bind(space.as_str())
        .bind(collection)
        .fetch_optional(self.reads())
        .await?;
        Ok(version.unwrap_or(0))
    }
}

impl Store {
    /// Lists entries ordered by the bytes of their names, as of the time `now`, µs. Large values
    /// are omitted.
    pub async fn list_entries(
        &self,
        app_id: &AppId,
        space: Space,
        collection: &str,
        range: &EntryRange<'_>,
        now: i64,
    ) -> Result<Vec<Excerpt<Entry>>> {
        let (end, value) = (first_after(range.prefix), excerpt::columns("value"));
        let query = self.part_query(&value, end.is_some());
        let query = bind_part!(sqlx::query_as(query), app_id, space, collection, range, now, end);
        Ok(query.fetch_all(self.reads()).await?)
    }
}

impl Reads {
    /// Lists entries as [`Store::list_entries`] does, but with all values. Returns `None` as soon
    /// as names and values exceed `bytes_max` bytes; the rest is not read.
    pub async fn list_entries_within(
        &self,
        app_id: &AppId,
        space: Space,
        collection: &str,
        range: &EntryRange<'_>,
        now: i64,
        bytes_max: u64,
    ) -> Result<Option<Vec<Entry>>> {
        let end = first_after(range.prefix);
        let query = self.part_query("value", end.is_some());
        let query = bind_part!(sqlx::query_as(query), app_id, space, collection, range, now, end);
        let mut rows = query.fetch(self.reads());
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(entry) = rows.try_next().await? {
            let entry: Entry = entry;
            bytes += (entry.name.len() + entry.value.as_str().len()) as u64;
            if bytes > bytes_max {
                return Ok(None);
            }
            entries.push(entry);
        }
        Ok(Some(entries))
    }

    /// Returns the query for a part of a collection; `has_end` is whether there is an upper bound.
    fn part_query(&self, value: &str, has_end: bool) -> AssertSqlSafe<String> {
        let by_bytes = self.inner.dialect.by_bytes();
        // A bound that every name satisfies would cost one more comparison per name.
        let before_end = if has_end { format!("AND name{by_bytes} < $8") } else { String::new() };
        AssertSqlSafe(format!(
            "SELECT name, {value}, version, expires_at, updated_at FROM entries \
             WHERE app_id = $1 AND space = $2 AND collection = $3 \
             AND (expires_at IS NULL OR expires_at > $4) \
             AND name{by_bytes} >= $5 AND name{by_bytes} > $6 {before_end} \
             ORDER BY name{by_bytes} LIMIT $7"
        ))
    }
}

impl Store {
    /// Lists the app's collections or buckets by name, with their numbers of entries.
    pub async fn list_collections(
        &self,
        app_id: &AppId,
        space: Space,
        page: Page,
    ) -> Result<Vec<Collection>> {
        let rows = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT c.name, c.version, (SELECT COUNT(*) FROM (SELECT 1 FROM entries e \
             WHERE e.app_id = c.app_id AND e.space = c.space AND e.collection = c.name \
             LIMIT {ENTRIES_COUNTED_MAX}) AS counted) AS entries \
             FROM (SELECT app_id, space, name, version FROM collections \
             WHERE app_id = $1 AND space = $2 ORDER BY name LIMIT $3 OFFSET $4) AS c \
             ORDER BY c.name"
        )))
        .bind(app_id)
        .bind(space.as_str())
        .bind(page.limit)
        .bind(page.offset)
        .fetch_all(self.reads())
        .await?;
        Ok(rows)
    }
}

impl Reads {
    /// Whether the app has keys that expired before `at`, µs, and are not deleted yet.
    pub async fn has_expired_entries(&self, app_id: &AppId, at: i64) -> Result<bool> {
        let query = "SELECT 1 FROM entries WHERE expires_at IS NOT NULL AND expires_at <= $2 \
                     AND app_id = $1 LIMIT 1";
        let query = sqlx::query(query).bind(app_id).bind(at);
        Ok(query.fetch_optional(self.reads()).await?.is_some())
    }
}

impl Store {
    /// Deletes at most `limit` entries that expired before `at`, µs. Returns the number deleted.
    /// The deletion is not visible to readers.
    pub async fn delete_expired_entries(&self, at: i64, limit: i64) -> Result<u64> {
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "DELETE FROM entries WHERE (app_id, space, collection, name) IN \
                     (SELECT app_id, space, collection, name FROM entries \
                     WHERE expires_at IS NOT NULL AND expires_at < $1 ORDER BY expires_at LIMIT $2)",
                )
                .bind(at)
                .bind(limit)
                .execute(connection)
                .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }
}

/// Returns the first name, in byte order, after all names with this prefix; `None` if there is no
/// such bound.
fn first_after(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    loop {
        let next = match end.pop()? {
            char::MAX => continue,
            // Skips the surrogates, which are not characters.
            '\u{d7ff}' => '\u{e000}',
            last => char::from_u32(last as u32 + 1)?,
        };
        end.push(next);
        return Some(end);
    }
}
