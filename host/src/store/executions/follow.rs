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

use super::blocks::{self, Numbered};
use super::cursor::ExecutionCursor;
use super::{Execution, ExecutionFilter, ExecutionId, ExecutionScope, find_rows, search};
use crate::store::{AppId, Error, Listed, Part, Result, Store};

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
    /// The execution, if it was read from a block and matches.
    #[sqlx(skip)]
    execution: Option<Execution>,
}

impl Next {
    fn of_block(Numbered { sequence, execution }: Numbered, search: &Search<'_>) -> Self {
        let (id, finished_at) = (execution.id.clone(), execution.finished_at);
        let fits = search.scope.covers(&execution) && search.filter.fits(&execution);
        let execution = fits.then_some(execution);
        Self { id, sequence, finished_at, fits: fits.into(), execution }
    }
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
        let listed =
            search::fetch(&mut snapshot, self.inner.dialect, scope, filter, &part.into()).await?;
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
        // One snapshot: an execution that is committed between two statements could be missed.
        let begin = self.inner.dialect.begin_snapshot();
        let mut connection = Connection::begin_with(&mut *connection, begin).await?;
        let writers = writers(&mut connection).await?;
        if cursor.is_ahead_of(&writers) {
            let reason = "is ahead of the log, which was restored from a backup; start again";
            return Err(Error::Invalid { field: "after", reason });
        }
        let everything = ExecutionFilter { text: None, ..filter.clone() } == Default::default();
        let most = i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1;
        let most = if everything { most } else { most.max(LOOKED_AT_MAX) };
        let app_id = app_of(&mut connection, scope).await?;
        let search = Search { scope, app_id, filter, most };
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
        let next = merge(&mut streams, &mut cursor, limit);
        let has_more = any_is_cut || streams.iter().any(|stream| !stream.next.is_empty());
        let rows = self.find_in_order(&mut connection, next).await?;
        connection.commit().await?;
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
        let mut place: Option<(i64, i64)> =
            sqlx::query_as(place).bind(id).fetch_optional(&mut *connection).await?;
        if place.is_none() {
            let found = blocks::walk::find(&mut connection, id).await?;
            place = found.map(|(writer, found)| (writer, found.sequence));
        }
        let Some((writer, sequence)) = place else { return Ok(None) };
        let writers = writers(&mut connection).await?;
        if writers.iter().any(|(other, reached)| *other != writer && *reached > 0) {
            return Ok(None);
        }
        let unnumbered = last_unnumbered(&mut connection, scope).await?;
        Ok(Some(ExecutionCursor { sequences: [(writer, sequence)].into(), unnumbered }))
    }

    /// Returns these executions in their order. Reads those that are rows.
    async fn find_in_order(
        &self,
        connection: &mut AnyConnection,
        next: Vec<Next>,
    ) -> Result<Vec<Execution>> {
        let unread = next.iter().filter(|next| next.execution.is_none());
        let ids: Vec<_> = unread.map(|next| (next.id.as_str(),)).collect();
        let mut found = find_rows(connection, self.inner.dialect, &ids).await?;
        let each = next.into_iter();
        Ok(each.filter_map(|n| n.execution.or_else(|| found.remove(n.id.as_str()))).collect())
    }
}

/// Returns the last sequence number of each writer.
async fn writers(connection: &mut AnyConnection) -> Result<BTreeMap<i64, i64>> {
    let query = "SELECT id, sequence FROM writers";
    let rows: Vec<(i64, i64)> = sqlx::query_as(query).fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

/// Returns the app of a scope; `None` if it is a script without executions in blocks.
async fn app_of(connection: &mut AnyConnection, scope: &ExecutionScope) -> Result<Option<AppId>> {
    match scope {
        ExecutionScope::App(app_id) => Ok(Some(app_id.clone())),
        ExecutionScope::Script(id) => {
            let query = format!(
                "SELECT b.app_id FROM {} WHERE s.script_id = $1 LIMIT 1",
                blocks::walk::BLOCKS_OF_SCRIPTS
            );
            let query = sqlx::query_scalar(AssertSqlSafe(query)).bind(id);
            Ok(query.fetch_optional(connection).await?)
        }
    }
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
    /// The app of the scope; `None` if it has no executions in blocks.
    app_id: Option<AppId>,
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
            ExecutionFilter::fits_sql(),
            self.scope.column()
        );
        let query = self.filter.bind(sqlx::query_as(AssertSqlSafe(query)), self.scope);
        let query = query.bind(writer).bind(last).bind(self.most);
        let mut next: Vec<Next> = query.fetch_all(&mut *connection).await?;
        let rows_end = self.end(&next);
        if let Some(app_id) = &self.app_id {
            let count = usize::try_from(self.most).unwrap_or(usize::MAX);
            let packed =
                blocks::walk::numbered_after(connection, app_id, writer, last, count).await?;
            next.extend(packed.into_iter().map(|row| Next::of_block(row, self)));
            next.sort_by_key(|next| next.sequence);
            // Beyond the last row that was read, rows can be missing.
            next.retain(|next| rows_end.is_none_or(|end| next.sequence <= end));
            next.truncate(count);
        }
        Ok(Stream { writer, next: next.into() })
    }

    /// Returns the last number that was read, if there can be more.
    fn end(&self, next: &[Next]) -> Option<i64> {
        let is_cut = i64::try_from(next.len()).unwrap_or(i64::MAX) >= self.most;
        next.last().filter(|_| is_cut).map(|next| next.sequence)
    }

    async fn unnumbered(
        &self,
        connection: &mut AnyConnection,
        cursor: &ExecutionCursor,
    ) -> Result<Stream> {
        let query = format!(
            "SELECT id, sequence, finished_at, {} AS fits FROM executions WHERE {} = $1 \
             AND writer = 0 AND (finished_at, id) > ($7, $8) ORDER BY finished_at, id LIMIT $9",
            ExecutionFilter::fits_sql(),
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
fn merge(streams: &mut [Stream], cursor: &mut ExecutionCursor, limit: usize) -> Vec<Next> {
    let mut fitting = Vec::new();
    while fitting.len() < limit {
        let waiting = streams.iter_mut().filter(|stream| !stream.next.is_empty());
        let Some(first) = waiting.min_by_key(|stream| stream.next[0].finished_at) else { break };
        let Some(next) = first.next.pop_front() else { break };
        match first.writer {
            0 => cursor.unnumbered = Some((next.finished_at, next.id.clone())),
            writer => drop(cursor.sequences.insert(writer, next.sequence)),
        }
        if next.fits == 1 {
            fitting.push(next);
        }
    }
    fitting
}
