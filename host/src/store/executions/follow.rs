//! Reads the log in the order of its commits: nothing is missed and nothing comes twice.
//!
//! ```text
//!  writer 1  ──5──6──7──8──9        the cursor {1: 6, 2: 2}: what follows is 7, 8, 9 of
//!  writer 2  ──1──2──3──4           the first writer and 3, 4 of the second, merged by the
//!  unnumbered ──────────            times at which they finished
//! ```
//!
//! Invariant: what is read of a writer is what comes next, without a gap, so that the cursor
//! after it needs one number for each writer.

use std::collections::{BTreeMap, VecDeque};

use sqlx::{AnyConnection, AssertSqlSafe, Connection, FromRow};

use super::cursor::ExecutionCursor;
use super::{Execution, ExecutionFilter, ExecutionId, ExecutionScope, search};
use crate::store::{Error, Listed, Part, Result, Store, bulk};

/// The most executions of one writer that one call looks at when not all of them fit.
const LOOKED_AT_MAX: i64 = 1_000;

/// What came after a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The executions, about in the order in which they finished. May be empty although there
    /// are more, when few of those that were looked at fit the filter.
    pub rows: Vec<Execution>,
    /// Where to go on.
    pub cursor: ExecutionCursor,
    /// Whether there is more already.
    pub has_more: bool,
}

/// An execution that comes next: where it is, and whether it is asked for.
#[derive(FromRow)]
struct Next {
    id: ExecutionId,
    sequence: i64,
    finished_at: i64,
    fits: i64,
}

/// What comes next of one writer; 0 is that of the unnumbered.
struct Stream {
    writer: i64,
    next: VecDeque<Next>,
}

impl Store {
    /// A page of executions, the last to finish first, and the cursor of what is committed
    /// after it.
    pub async fn list_executions_and_cursor(
        &self,
        scope: &ExecutionScope,
        filter: &ExecutionFilter,
        part: impl Into<Part>,
    ) -> Result<(Listed<Execution>, ExecutionCursor)> {
        let mut connection = self.reads().acquire().await?;
        // One moment, or what is committed in between would be missed or come twice.
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

    /// What was committed after `cursor`, at most `limit` executions. The filter's text does
    /// not count here.
    ///
    /// Errors: `Invalid` for a cursor that is ahead of the database.
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
            let reason = "is ahead of the log, which was restored from a backup since; start anew";
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

    /// The cursor behind an execution: what was written after it is known where one writer has
    /// written all that is numbered. None elsewhere, and for an execution that is not there or
    /// has no number.
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

    /// The executions with these ids, in the order of the ids.
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

/// The last sequence of each writer.
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

/// What is looked for, and among how many executions of each writer.
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

/// Takes what finished first, again and again, until `limit` of it fit, and moves the cursor
/// behind all that was taken.
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
