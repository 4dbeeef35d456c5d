//! The outbox: all accepted events that are not done yet.
//!
//! ```text
//!  append ─▶ pending ──claim: attempt + 1──▶ leased ──complete──▶ deleted
//!               ▲                              │ │
//!               ├──── retry: available later ──┘ ├──bury──▶ a dead letter
//!               ├──── release: attempt - 1 ──────┤
//!               ├──── the lease expired ─────────┘
//!               └──cancel──▶ deleted
//! ```
//!
//! [`super::commit`] appends the events that a run causes, and completes, retries or buries the
//! event that started it. With [`claim`] a node takes due events, with [`handover`] the events it
//! appends itself. With [`cancel`] a user removes pending events.
//!
//! Invariant: an attempt is counted before it begins, so that an attempt that kills its host counts
//! too.
//! Invariant: a call with an older attempt or another token changes nothing.

mod cancel;
mod claim;
mod handover;
mod intake;
mod lists;
mod places;

pub use claim::{Claim, Claimed, Lease, NO_END};
pub(super) use claim::{facts_query, look_query};
pub(super) use handover::{Handover, Reserved};
pub use handover::{Offer, Taken};
pub use intake::{Accepted, NewKey};
pub use lists::{Backlog, EventFilter};
pub use places::{Place, Places};

use std::collections::{BTreeMap, HashSet};

use sqlx::{AnyConnection, AssertSqlSafe, FromRow};

use super::bulk::{self, bulk_row};
use super::dialect::Dialect;
use super::remains::OF_AN_APP;
use super::{
    AppId, DeadLetterId, Error, EventId, ExecutionId, Json, Reads, Resource, Result, ScriptId,
    Store, TriggerId, TriggerKind,
};

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Event {
    /// The id.
    pub id: EventId,
    /// The app it belongs to.
    pub app_id: AppId,
    /// The trigger that created it.
    pub trigger_id: Option<TriggerId>,
    /// The script to run; `None` while its queue has no trigger.
    pub script_id: Option<ScriptId>,
    /// The version to run; `None` for the version deployed at the time of the run.
    pub script_version: Option<i64>,
    /// The kind of event.
    #[sqlx(try_from = "String")]
    pub kind: TriggerKind,
    /// The operation: `insert`, `send`, `fire` …
    pub operation: String,
    /// The queue, topic, collection or bucket; can be empty.
    pub source: String,
    /// The details, a JSON object.
    pub payload: Json,
    /// The principal the script runs as.
    pub principal: String,
    /// The length of the chain of events that led to this one.
    pub depth: i64,
    /// The number of attempts begun.
    pub attempt: i64,
    /// The earliest time for the next attempt, by the database's clock, µs.
    pub available_at: i64,
    /// When the lease expires, by the database's clock, µs.
    pub leased_until: Option<i64>,
    /// The token of the claim.
    pub lease_token: Option<String>,
    /// The node on which a caller waits for the response.
    pub reply_to: Option<String>,
    /// The dead letter that the event is about.
    pub dead_letter_id: Option<DeadLetterId>,
    /// The execution that caused it.
    pub caused_by: Option<ExecutionId>,
    /// When the first attempt began, µs.
    pub first_attempt_at: Option<i64>,
    /// When the last attempt began, µs.
    pub last_attempt_at: Option<i64>,
    /// The error of the last attempt.
    pub last_error: Option<String>,
    /// When it was accepted, µs.
    pub created_at: i64,
}

/// An event to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The id.
    pub id: EventId,
    /// The app it belongs to.
    pub app_id: AppId,
    /// The trigger that created it.
    pub trigger_id: Option<TriggerId>,
    /// The script to run.
    pub script_id: Option<ScriptId>,
    /// The version to run.
    pub script_version: Option<i64>,
    /// The kind of event.
    pub kind: TriggerKind,
    /// The operation.
    pub operation: String,
    /// The queue, topic, collection or bucket.
    pub source: String,
    /// The details, a JSON object.
    pub payload: Json,
    /// The principal the script runs as.
    pub principal: String,
    /// The length of the chain of events that led to this one.
    pub depth: i64,
    /// The delay before the first attempt, in microseconds from now.
    pub delay_us: i64,
    /// The node on which a caller waits for the response.
    pub reply_to: Option<String>,
    /// The dedupe key: drops the event if a pending one has the same source and key.
    pub dedupe_key: Option<String>,
    /// The dead letter that the event is about.
    pub dead_letter_id: Option<DeadLetterId>,
    /// The execution that caused it.
    pub caused_by: Option<ExecutionId>,
    /// The current time, µs.
    pub created_at: i64,
}

bulk_row! { NewEvent {
    id: Text,
    app_id: Text,
    trigger_id: Text,
    script_id: Text,
    script_version: Number,
    kind: Text,
    operation: Text,
    source: Text,
    payload: Text,
    principal: Text,
    depth: Number,
    delay_us as available_at: Delay,
    reply_to: Text,
    dedupe_key: Text,
    dead_letter_id: Text,
    caused_by: Text,
    created_at: Number,
}}

/// Appends events inside a transaction. Returns the number of new events.
///
/// A queue can have got a trigger after a message to it was sent. The trigger took the messages
/// stored at that time; later messages are assigned to it here.
pub(super) async fn append(
    connection: &mut AnyConnection,
    dialect: Dialect,
    events: &[NewEvent],
) -> Result<u64> {
    if events.is_empty() {
        return Ok(0);
    }
    let (single, plain): (Vec<_>, Vec<_>) =
        events.iter().partition(|event| event.dedupe_key.is_some());
    let mut appended = append_single(connection, dialect, single).await?;
    if !plain.is_empty() {
        let insert = bulk::insert_statement::<NewEvent>(dialect, "outbox", "");
        let insert = sqlx::query(AssertSqlSafe(insert)).bind(bulk::rows_json(plain)?);
        appended += insert.execute(&mut *connection).await?.rows_affected();
    }
    let unassigned: Vec<_> =
        events.iter().filter(|event| event.script_id.is_none()).map(|event| (&event.id,)).collect();
    const TRIGGER: &str = "FROM triggers_queue q JOIN triggers t ON t.id = q.trigger_id \
        WHERE q.app_id = outbox.app_id AND q.queue = outbox.source AND t.disabled_at IS NULL";
    let assign = format!(
        "UPDATE outbox SET trigger_id = (SELECT t.id {TRIGGER}), \
         script_id = (SELECT t.script_id {TRIGGER}) WHERE script_id IS NULL \
         AND id IN (SELECT r.value->>0 FROM {})",
        dialect.rows()
    );
    bulk::run(connection, assign, &unassigned).await?;
    Ok(appended)
}

/// Appends messages with dedupe keys. Returns the number of new ones. A pending message stays
/// pending until this transaction ends, so its run sees what is committed here.
async fn append_single(
    connection: &mut AnyConnection,
    dialect: Dialect,
    messages: Vec<&NewEvent>,
) -> Result<u64> {
    // Sorted, so that two nodes cannot deadlock. One message per key, because a statement can
    // change a row only once.
    let mut first: BTreeMap<_, &NewEvent> = BTreeMap::new();
    for message in messages {
        first.entry((&message.app_id, &message.source, &message.dedupe_key)).or_insert(message);
    }
    if first.is_empty() {
        return Ok(0);
    }
    // Not DO NOTHING, which would not lock the pending row.
    let insert = bulk::insert_statement::<NewEvent>(
        dialect,
        "outbox",
        "ON CONFLICT (app_id, source, dedupe_key) WHERE dedupe_key IS NOT NULL \
         DO UPDATE SET dedupe_key = excluded.dedupe_key RETURNING id",
    );
    let waiting: Vec<EventId> = sqlx::query_scalar(AssertSqlSafe(insert))
        .bind(bulk::rows_json(first.values().copied())?)
        .fetch_all(connection)
        .await?;
    let ours: HashSet<_> = first.values().map(|message| &message.id).collect();
    Ok(waiting.iter().filter(|id| ours.contains(id)).count() as u64)
}

/// The script that the trigger of a row runs now; NULL if there is no such trigger.
const SCRIPT_NOW: &str = "(SELECT t.script_id FROM triggers t WHERE t.id = outbox.trigger_id)";

impl Store {
    /// Returns the event with this id. Errors: `NotFound(Event)`, also if it is done.
    pub async fn find_event(&self, id: &EventId) -> Result<Event> {
        sqlx::query_as(AssertSqlSafe(format!("SELECT * FROM outbox WHERE id = $1 AND {OF_AN_APP}")))
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Event))
    }
}

impl Reads {
    /// Returns the pending message with this dedupe key, if any.
    pub async fn find_waiting_message(
        &self,
        app_id: &AppId,
        queue: &str,
        dedupe_key: &str,
    ) -> Result<Option<EventId>> {
        let id = sqlx::query_scalar(
            "SELECT id FROM outbox WHERE app_id = $1 AND source = $2 AND dedupe_key = $3",
        )
        .bind(app_id)
        .bind(queue)
        .bind(dedupe_key)
        .fetch_optional(self.reads())
        .await?;
        Ok(id)
    }
}
