//! The outbox: every event that is accepted and not yet done.
//!
//! ```text
//!  append ─▶ waiting ──claim: attempt + 1──▶ leased ──complete──▶ gone
//!               ▲                              │ │
//!               ├──── retry: available later ──┘ ├──bury──▶ a dead letter
//!               ├──── release: attempt - 1 ──────┤
//!               ├──── the lease ran out ─────────┘
//!               └──cancel──▶ gone
//! ```
//!
//! [`super::commit`] appends what a run causes and completes, retries or buries
//! what started it; [`claim`] is how a node takes what is due, [`handover`] how it takes
//! what it appends itself, [`cancel`] how a person takes back what waits.
//!
//! Invariant: an attempt is counted before it begins, so that one which kills its
//! host is counted too.
//! Invariant: who names an older attempt or another token changes nothing.

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
    AppId, DeadLetterId, Error, EventId, ExecutionId, Json, Resource, Result, ScriptId, Store,
    TriggerId, TriggerKind,
};

/// An event of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// The app that it belongs to.
    pub app_id: AppId,
    /// The trigger that it came by.
    pub trigger_id: Option<TriggerId>,
    /// The script to run; none while its queue has no trigger.
    pub script_id: Option<ScriptId>,
    /// The version to run; none for the one that runs then.
    pub script_version: Option<i64>,
    /// What kind of event it is.
    #[sqlx(try_from = "String")]
    pub kind: TriggerKind,
    /// What happened: `insert`, `send`, `fire` …
    pub operation: String,
    /// The queue, topic, collection or bucket that it came by; may be empty.
    pub source: String,
    /// The details, an object.
    pub payload: Json,
    /// As whom the script runs.
    pub principal: String,
    /// How many events led to it, one after the other.
    pub depth: i64,
    /// Attempts begun.
    pub attempt: i64,
    /// Not before this time of the database, µs.
    pub available_at: i64,
    /// Whose it is until then, by the database's time, µs.
    pub leased_until: Option<i64>,
    /// Names the claim.
    pub lease_token: Option<String>,
    /// The node whose caller waits.
    pub reply_to: Option<String>,
    /// The dead letter that its script is told of.
    pub dead_letter_id: Option<DeadLetterId>,
    /// The execution that caused it.
    pub caused_by: Option<ExecutionId>,
    /// When the first attempt began, µs.
    pub first_attempt_at: Option<i64>,
    /// When the last attempt began, µs.
    pub last_attempt_at: Option<i64>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it was accepted, µs.
    pub created_at: i64,
}

/// An event to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its id.
    pub id: EventId,
    /// The app that it belongs to.
    pub app_id: AppId,
    /// The trigger that it came by.
    pub trigger_id: Option<TriggerId>,
    /// The script to run.
    pub script_id: Option<ScriptId>,
    /// The version to run.
    pub script_version: Option<i64>,
    /// What kind of event it is.
    pub kind: TriggerKind,
    /// What happened.
    pub operation: String,
    /// The queue, topic, collection or bucket.
    pub source: String,
    /// The details, an object.
    pub payload: Json,
    /// As whom the script runs.
    pub principal: String,
    /// How many events led to it.
    pub depth: i64,
    /// Not before so many microseconds from now.
    pub delay_us: i64,
    /// The node whose caller waits.
    pub reply_to: Option<String>,
    /// Dropped while another with the same source and key waits.
    pub dedupe_key: Option<String>,
    /// The dead letter that its script is told of.
    pub dead_letter_id: Option<DeadLetterId>,
    /// The execution that caused it.
    pub caused_by: Option<ExecutionId>,
    /// Now, µs.
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

/// Appends events, inside of a transaction; how many there are now that were not.
///
/// A message whose queue had no trigger when it was sent may have got one meanwhile: the
/// trigger took what was there, so what comes after it is handed over here.
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

/// Appends messages with dedupe keys; how many do not wait already. One that waits stays
/// waiting until this transaction ends: its run will see what is committed here.
async fn append_single(
    connection: &mut AnyConnection,
    dialect: Dialect,
    messages: Vec<&NewEvent>,
) -> Result<u64> {
    // In one order on all nodes, so that two of them cannot wait for each other; and one of
    // each key, because a statement changes a row once.
    let mut first: BTreeMap<_, &NewEvent> = BTreeMap::new();
    for message in messages {
        first.entry((&message.app_id, &message.source, &message.dedupe_key)).or_insert(message);
    }
    if first.is_empty() {
        return Ok(0);
    }
    // Not DO NOTHING, which would leave the row that waits unlocked.
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

/// The script that the trigger of a row leads to now; NULL if there is no such trigger.
const SCRIPT_NOW: &str = "(SELECT t.script_id FROM triggers t WHERE t.id = outbox.trigger_id)";

impl Store {
    /// Errors: `NotFound(Event)`, also for one that is done.
    pub async fn find_event(&self, id: &EventId) -> Result<Event> {
        sqlx::query_as(AssertSqlSafe(format!("SELECT * FROM outbox WHERE id = $1 AND {OF_AN_APP}")))
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Event))
    }

    /// The waiting message with this dedupe key, if there is one.
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
