//! Reads the log in commit order, without gaps or duplicates.
//!
//! ```text
//!  writer 1  ──5──6──7──8──9        the cursor {1: 6, 2: 2}: next are 7, 8, 9 of the
//!  writer 2  ──1──2──3──4           first writer and 3, 4 of the second, merged by
//!  unnumbered ──────────            their finish times
//! ```
//!
//! Invariant: the executions of a writer are read in sequence, without a gap, so that a cursor
//! needs only one number per writer.

use std::collections::{BTreeMap, VecDeque};

use sqlx::{AnyConnection, AssertSqlSafe, Connection, FromRow};

use super::cursor::ExecutionCursor;
use super::{Execution, ExecutionFilter, ExecutionId, ExecutionScope, search};
use crate::store::{Error, Listed, Part, Result, Store, bulk};

/// The maximum number of executions of one writer that a filtered call examines.
const LOOKED_AT_MAX: i64 = 1_000;

/// The executions after a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The executions, roughly ordered by finish time. Can be empty although more exist, when few
    /// of the examined executions match the filter.
    pub rows: Vec<Execution>,
    /// The position to continue from.
    pub cursor: ExecutionCursor,
    /// Whether more executions are already stored.
    pub has_more: bool,
}

/// The next execution: its position, and whether it matches the filter.
#[derive(FromRow)]
struct Next {
    id: ExecutionId,
    sequence: i64,
    finished_at: i64,
    fits: i64,
}

/// The next executions of one writer; writer 0 holds the unnumbered ones.
struct Stream {
    writer: i64,
    next: VecDeque<Next>,
}

impl Store {
    /// Lists executions, last finished first, and returns a cursor for those committed later.
    pub async fn list_executions_and_cursor(
        &self,
        scope: &ExecutionScope,
        filter: &ExecutionFilter,
        part: impl Into<Part>,
    ) -> Result<(Listed<Execution>, ExecutionCursor)> {
        let mut connection = self.reads().acquire().await?;
        // Uses one snapshot: an execution committed in between would be missed or returned twice.
        let begin = self.inner.dialect.begin_snapshot();
        let mut snapshot = Connection::begin_with(&mut *connection, begin).await?;
        let listed = search::fetch(&mut snapshot, scope, filter, &part.into()).await?;
        let cursor = ExecutionCursor {
            sequences: writers(&mut snapshot).await?,
            unnumbered: last_unnumbered(&mut snapshot, scope).await?,
        };
        snapshot.commit().await?;
        Ok((listed, cursor))
    }

    /// Returns at most `limit` executions that were committed after `cursor`. Ignores the filter's
    /// text.
    ///
    /// Errors: `Invalid` if the cursor is ahead of the database.
    pub async fn follow_executions(
        &self,
        scope: &ExecutionScope,
        filter: &ExecutionFilter,
        cursor: &ExecutionCursor,
        limit: usize,
    ) -> Result<Followed> {
        let mut connection = self.reads().acquire().await?;
        let writers = writers(&mut connection).await?;
        if cursor.is_ahead_of(&writers) {
            let reason = "is ahead of the log, which was restored from a backup; start again";
            return Err(Error::Invalid { field: "after", reason });
        }
        let everything = ExecutionFilter { text: None, ..filter.clone() } == Default::default();
        let most = i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1;
        let most = if everything { most } else { most.max(LOOKED_AT_MAX) };
        let search = Search { scope, filter, most };
        let mut streams = vec![search.unnumbered(&mut connection, cursor).await?];
        for (&writer, &reached) in &writers {
            let last = cursor.sequence(writer);
            if last < reached {
                streams.push(search.numbered(&mut connection, writer, last).await?);
            }
        }
        let cut = |stream: &Stream| i64::try_from(stream.next.len()).unwrap_or(i64::MAX) >= most;
        let any_is_cut = streams.iter().any(cut);
        let mut cursor = cursor.clone();
        let ids = merge(&mut streams, &mut cursor, limit);
        let has_more = any_is_cut || streams.iter().any(|stream| !stream.next.is_empty());
        let rows = self.find_in_order(&mut connection, &ids).await?;
        Ok(Followed { rows, cursor, has_more })
    }

    /// Returns the cursor after an execution. This needs a log in which only one writer has
    /// numbered executions. `None` if there are several, or if the execution does not exist or has
    /// no number.
    pub async fn cursor_behind(
        &self,
        scope: &ExecutionScope,
        id: &ExecutionId,
    ) -> Result<Option<ExecutionCursor>> {
        let mut connection = self.reads().acquire().await?;
        let place = "SELECT writer, sequence FROM executions WHERE id = $1 AND writer > 0";
        let place: Option<(i64, i64)> =
            sqlx::query_as(place).bind(id).fetch_optional(&mut *connection).await?;
        let Some((writer, sequence)) = place else { return Ok(None) };
        let writers = writers(&mut connection).await?;
        if writers.iter().any(|(other, reached)| *other != writer && *reached > 0) {
            return Ok(None);
        }
        let unnumbered = last_unnumbered(&mut connection, scope).await?;
        Ok(Some(ExecutionCursor { sequences: [(writer, sequence)].into(), unnumbered }))
    }

    /// Returns the executions with these ids, in the order of the ids.
    async fn find_in_order(
        &self,
        connection: &mut AnyConnection,
        ids: &[(ExecutionId,)],
    ) -> Result<Vec<Execution>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.inner.dialect.rows();
        let query =
            format!("SELECT * FROM executions WHERE id IN (SELECT r.value->>0 FROM {rows})");
        let found: Vec<Execution> = sqlx::query_as(AssertSqlSafe(query))
            .bind(bulk::json(ids)?)
            .fetch_all(connection)
            .await?;
        let mut found: BTreeMap<_, _> =
            found.into_iter().map(|row| (row.id.clone(), row)).collect();
        Ok(ids.iter().filter_map(|(id,)| found.remove(id)).collect())
    }
}

/// Returns the last sequence number of each writer.
async fn writers(connection: &mut AnyConnection) -> Result<BTreeMap<i64, i64>> {
    let query = "SELECT id, sequence FROM writers";
    let rows: Vec<(i64, i64)> = sqlx::query_as(query).fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

async fn last_unnumbered(
    connection: &mut AnyConnection,
    scope: &ExecutionScope,
) -> Result<Option<(i64, ExecutionId)>> {
    let query = format!(
        "SELECT finished_at, id FROM executions WHERE {} = $1 AND writer = 0 \
         ORDER BY finished_at DESC, id DESC LIMIT 1",
        scope.column()
    );
    let query = sqlx::query_as(AssertSqlSafe(query)).bind(scope.id());
    Ok(query.fetch_optional(connection).await?)
}

/// A filter, and the number of executions of each writer to examine.
struct Search<'a> {
    scope: &'a ExecutionScope,
    filter: &'a ExecutionFilter,
    most: i64,
}

impl Search<'_> {
    async fn numbered(
        &self,
        connection: &mut AnyConnection,
        writer: i64,
        last: i64,
    ) -> Result<Stream> {
        let query = format!(
            "SELECT id, sequence, finished_at, {} AS fits FROM executions WHERE {} = $1 \
             AND writer > 0 AND writer = $7 AND sequence > $8 ORDER BY sequence LIMIT $9",
            ExecutionFilter::fits(),
            self.scope.column()
        );
        let query = self.filter.bind(sqlx::query_as(AssertSqlSafe(query)), self.scope);
        let query = query.bind(writer).bind(last).bind(self.most);
        let next: Vec<Next> = query.fetch_all(connection).await?;
        Ok(Stream { writer, next: next.into() })
    }

    async fn unnumbered(
        &self,
        connection: &mut AnyConnection,
        cursor: &ExecutionCursor,
    ) -> Result<Stream> {
        let query = format!(
            "SELECT id, sequence, finished_at, {} AS fits FROM executions WHERE {} = $1 \
             AND writer = 0 AND (finished_at, id) > ($7, $8) ORDER BY finished_at, id LIMIT $9",
            ExecutionFilter::fits(),
            self.scope.column()
        );
        let last = cursor.unnumbered.as_ref();
        let query = self.filter.bind(sqlx::query_as(AssertSqlSafe(query)), self.scope);
        let query = query.bind(last.map_or(i64::MIN, |(at, _)| *at));
        let query = query.bind(last.map_or("", |(_, id)| id.as_str()).to_owned());
        let next: Vec<Next> = query.bind(self.most).fetch_all(connection).await?;
        Ok(Stream { writer: 0, next: next.into() })
    }
}

/// Takes executions in order of finish time until `limit` of them match. Moves the cursor after all
/// that were taken.
fn merge(
    streams: &mut [Stream],
    cursor: &mut ExecutionCursor,
    limit: usize,
) -> Vec<(ExecutionId,)> {
    let mut ids = Vec::new();
    while ids.len() < limit {
        let waiting = streams.iter_mut().filter(|stream| !stream.next.is_empty());
        let Some(first) = waiting.min_by_key(|stream| stream.next[0].finished_at) else { break };
        let Some(next) = first.next.pop_front() else { break };
        match first.writer {
            0 => cursor.unnumbered = Some((next.finished_at, next.id.clone())),
            writer => drop(cursor.sequences.insert(writer, next.sequence)),
        }
        if next.fits == 1 {
            ids.push((next.id,));
        }
    }
    ids
}
