//! Lists and counts the pending and running events of an app.
//!
//! Invariant: the whole outbox is never counted. It is long exactly when the system is busy.

use sqlx::FromRow;

use super::Event;
use crate::store::listing::{Listing, Table};
use crate::store::{
    AppId, Excerpt, ExecutionId, Listed, Page, Part, Result, ScriptId, Store, TriggerId,
    TriggerKind, excerpt,
};

const OUTBOX: Table = Table { name: "outbox", at: "created_at", id: "id" };

/// The maximum number of events counted for one kind and source.
pub const PLACE_COUNTED_MAX: i64 = 1_000;

/// A filter of an app's events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only events of this kind.
    pub kind: Option<TriggerKind>,
    /// Only events of this queue, topic, collection or bucket.
    pub source: Option<String>,
    /// Only events of this trigger.
    pub trigger_id: Option<TriggerId>,
    /// Only events that this execution caused.
    pub caused_by: Option<ExecutionId>,
    /// Only events that run this script.
    pub script_id: Option<ScriptId>,
}

/// The number of an app's events of one kind and source.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Backlog {
    /// The kind of event.
    #[sqlx(try_from = "String")]
    pub kind: TriggerKind,
    /// The queue, topic, collection or bucket.
    pub source: String,
    /// The number of pending and running events, at most [`PLACE_COUNTED_MAX`].
    pub events: i64,
    /// When the oldest of these events was accepted, µs.
    pub oldest_at: i64,
}

/// Selects the kinds and sources of an app's events, each starting from the previous one. It does
/// not use `(kind, source) > …`, because SQLite then steps over all events of the kind.
const PLACES: &str = "WITH RECURSIVE kinds (kind) AS ( \
        SELECT MIN(kind) FROM outbox WHERE app_id = $1 UNION ALL \
        SELECT (SELECT MIN(o.kind) FROM outbox o WHERE o.app_id = $1 AND o.kind > kinds.kind) \
        FROM kinds WHERE kinds.kind IS NOT NULL), \
    places (kind, source) AS ( \
        SELECT kind, (SELECT MIN(o.source) FROM outbox o WHERE o.app_id = $1 \
            AND o.kind = kinds.kind) FROM kinds WHERE kind IS NOT NULL UNION ALL \
        SELECT kind, (SELECT MIN(o.source) FROM outbox o WHERE o.app_id = $1 \
            AND o.kind = places.kind AND o.source > places.source) \
        FROM places WHERE places.source IS NOT NULL)";

/// Returns the matching events as a list, last accepted first.
pub(super) fn listing(app_id: &AppId, filter: &EventFilter) -> Listing {
    let filters = [
        ("caused_by", filter.caused_by.as_ref().map(ExecutionId::as_str)),
        ("trigger_id", filter.trigger_id.as_ref().map(TriggerId::as_str)),
    ];
    let mut listing = Listing::of(OUTBOX);
    listing = listing.found_by_first(&filters, ("app_id", Some(app_id.as_str())));
    let is_of_app = filters.iter().all(|(_, value)| value.is_none());
    let (kind, source) = (filter.kind.map(TriggerKind::as_str), filter.source.as_deref());
    let script = filter.script_id.as_ref().map(ScriptId::as_str);
    listing = match (kind, source) {
        (Some(kind), Some(source)) if is_of_app => {
            listing.found("kind =", kind).found("source =", source)
        }
        _ => {
            let filters = [("kind", kind), ("source", source)].into_iter();
            let given = filters.filter_map(|(column, value)| Some((column, value?)));
            given.fold(listing, |listing, (column, value)| listing.sifted(column, value))
        }
    };
    script.into_iter().fold(listing, |listing, id| listing.sifted("script_id", id))
}

impl Store {
    /// Lists the app's events that are not done, last accepted first. Large payloads are omitted. A
    /// filter by kind, source or script alone, or by several fields, searches only the last 10,000
    /// events.
    pub async fn list_events(
        &self,
        app_id: &AppId,
        filter: &EventFilter,
        part: impl Into<Part>,
    ) -> Result<Listed<Excerpt<Event>>> {
        let mut connection = self.reads().acquire().await?;
        let columns = format!(
            "id, app_id, trigger_id, script_id, script_version, kind, operation, source, {}, \
             principal, depth, attempt, available_at, leased_until, lease_token, reply_to, \
             dead_letter_id, caused_by, first_attempt_at, last_attempt_at, last_error, created_at",
            excerpt::columns("payload")
        );
        listing(app_id, filter).fetch(&mut connection, &columns, &part.into()).await
    }

    /// Lists the numbers of an app's events by kind and source.
    pub async fn list_backlog(&self, app_id: &AppId, page: Page) -> Result<Vec<Backlog>> {
        let place = "o.app_id = $1 AND o.kind = p.kind AND o.source = p.source";
        let query = format!(
            "{PLACES} SELECT p.kind, p.source, (SELECT COUNT(*) FROM (SELECT 1 FROM outbox o \
             WHERE {place} LIMIT {PLACE_COUNTED_MAX}) AS c) AS events, \
             COALESCE((SELECT MIN(o.created_at) FROM outbox o WHERE {place}), 0) AS oldest_at \
             FROM (SELECT kind, source FROM places WHERE source IS NOT NULL \
             ORDER BY kind, source LIMIT $2 OFFSET $3) AS p ORDER BY p.kind, p.source"
        );
        let rows = sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(app_id)
            .bind(page.limit)
            .bind(page.offset)
            .fetch_all(self.reads())
            .await?;
        Ok(rows)
    }
}
