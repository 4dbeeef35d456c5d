//! Entries: the keys of collections and the paths of buckets, read here and
//! written by [`super::commit`].
//!
//! Invariant: an entry whose time is up is as if it were not there, also while its
//! row still is.

use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, FromRow};

use super::signals::Touches;
use super::{AppId, Excerpt, Json, Page, Result, Space, Store, excerpt, text};

/// The most entries of one collection that are counted.
pub const ENTRIES_COUNTED_MAX: i64 = 1_000;

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Entry {
    /// The key, or the path.
    pub name: String,
    /// The value; of a file, what describes its blob.
    pub value: Json,
    /// The collection's version at the time of the change: never twice the same in
    /// one collection.
    pub version: i64,
    /// When its time is up, µs.
    pub expires_at: Option<i64>,
    /// When it was last changed, µs.
    pub updated_at: i64,
}

/// A collection or a bucket, and how full it is.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Collection {
    /// Its name.
    pub name: String,
    /// Grows with every change.
    pub version: i64,
    /// How many entries it has; [`ENTRIES_COUNTED_MAX`] stands for that and more.
    pub entries: i64,
}

/// Which part of a collection.
#[derive(Debug, Clone)]
pub struct EntryRange<'a> {
    /// Only names that begin so.
    pub prefix: &'a str,
    /// Only names after this one.
    pub after: Option<&'a str>,
    /// At most so many.
    pub limit: i64,
}

/// The names of an entry, but for the app's.
#[derive(Debug, Clone, Copy)]
pub struct EntryName<'a> {
    /// Keys or paths.
    pub space: Space,
    /// The collection or the bucket.
    pub collection: &'a str,
    /// The key or the path.
    pub name: &'a str,
}

/// Binds the parameters of [`Store::part_query`].
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

impl Store {
    /// The entry, if there is one at the time `now`, µs.
    pub async fn find_entry(
        &self,
        app_id: &AppId,
        entry: EntryName<'_>,
        now: i64,
    ) -> Result<Option<Entry>> {
        if text::check("name", entry.name, text::UNLIMITED).is_err() {
            return Ok(None);
        }
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

    /// The version of a collection; 0 for one that nothing was ever put into.
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

    /// Entries in the order of their names' bytes, as of the time `now`, µs. Large values are
    /// left out.
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

    /// [`Store::list_entries`] with all values, if names and values have at most `bytes_max`
    /// bytes. What is over is not read.
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

    /// The query for a part of a collection; `has_end` says whether there is a name after all
    /// that are wanted.
    fn part_query(&self, value: &str, has_end: bool) -> AssertSqlSafe<String> {
        let by_bytes = self.inner.dialect.by_bytes();
        // A bound that every name satisfies would be one more comparison for each.
        let before_end = if has_end { format!("AND name{by_bytes} < $8") } else { String::new() };
        AssertSqlSafe(format!(
            "SELECT name, {value}, version, expires_at, updated_at FROM entries \
             WHERE app_id = $1 AND space = $2 AND collection = $3 \
             AND (expires_at IS NULL OR expires_at > $4) \
             AND name{by_bytes} >= $5 AND name{by_bytes} > $6 {before_end} \
             ORDER BY name{by_bytes} LIMIT $7"
        ))
    }

    /// The app's collections or buckets by name, with what is in them.
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

    /// Whether the app has keys whose time was up at `at`, µs, and that are not deleted yet.
    pub async fn has_expired_entries(&self, app_id: &AppId, at: i64) -> Result<bool> {
        let query = "SELECT 1 FROM entries WHERE expires_at IS NOT NULL AND expires_at <= $2 \
                     AND app_id = $1 LIMIT 1";
        let query = sqlx::query(query).bind(app_id).bind(at);
        Ok(query.fetch_optional(self.reads()).await?.is_some())
    }

    /// Deletes at most `limit` rows whose time was up before `at`, µs, and says how
    /// many. Nobody sees a difference.
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

/// The first name, in the order of bytes, after all names with this prefix; none where every
/// name after the prefix has it.
fn first_after(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    loop {
        let next = match end.pop()? {
            char::MAX => continue,
            // Over the surrogates, which are not characters.
            '\u{d7ff}' => '\u{e000}',
            last => char::from_u32(last as u32 + 1)?,
        };
        end.push(next);
        return Some(end);
    }
}
