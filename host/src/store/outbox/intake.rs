//! Accepts events from outside of a run: stored requests, messages sent through the API, fired
//! triggers.

use sqlx::AnyConnection;

use crate::store::dialect::Dialect;
use crate::store::outbox::{self, Handover, NewEvent, Reserved};
use crate::store::revision::STORED_REVISION;
use crate::store::signals::Touches;
use crate::store::storage::StorageLimits;
use crate::store::{
    AppId, Caused, Commit, Committed, Conflict, Error, EventId, Json, Resource, Result, Store,
    audit, commit, text,
};

/// An idempotency key of a request, new or repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// The app that was called.
    pub app_id: AppId,
    /// The scope of the key: the same key in another scope is independent.
    pub scope: String,
    /// The caller's key.
    pub key: String,
    /// The hash of the whole request.
    pub fingerprint: String,
    /// The event that identifies the first response.
    pub event_id: EventId,
    /// The first response, if it is known already.
    pub answer: Option<Json>,
    /// The first response to use instead if the event is dropped.
    pub answer_when_dropped: Option<Json>,
    /// The current time, µs.
    pub created_at: i64,
}

/// The result of accepting events from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// The events are in the outbox.
    Appended,
    /// The key was used before, for this event.
    Replayed(EventId),
    /// The key was used before with another fingerprint: nothing was appended.
    Reused,
    /// A message with the same dedupe key is pending.
    Dropped,
    /// The definitions that the events were derived from have changed: nothing was appended.
    Stale,
}

/// The result of appending events.
struct Appended {
    accepted: Accepted,
    /// The events that this process runs at once.
    taken: Option<Reserved>,
    /// Whether events can be claimed afterwards.
    is_to_claim: bool,
}

impl Appended {
    fn nothing(accepted: Accepted) -> Self {
        Self { accepted, taken: None, is_to_claim: false }
    }
}

impl Store {
    /// Appends events; they are on disk when this returns. A store from [`Store::on_behalf`] also
    /// writes its audit entry, unless the key was used before or the message is dropped.
    ///
    /// Errors: `NotFound(App)`, `Invalid`.
    pub async fn append_events(
        &self,
        events: Vec<NewEvent>,
        key: Option<NewKey>,
    ) -> Result<Accepted> {
        self.append_matched_events(events, key, None).await
    }

    /// Appends events that were derived from a revision of the definitions. Returns `Stale` if the
    /// definitions have changed since.
    pub async fn append_matched_events(
        &self,
        events: Vec<NewEvent>,
        key: Option<NewKey>,
        definitions: Option<i64>,
    ) -> Result<Accepted> {
        for event in &events {
            text::check("source", &event.source, text::UNLIMITED)?;
        }
        if let Some(key) = &key {
            text::check("idempotency_key", &key.key, text::NAME_BYTES_MAX)?;
        }
        // The common case is grouped with other commits, many with one statement.
        if key.is_none() && events.iter().all(|event| event.dedupe_key.is_none()) {
            let at = events.first().map_or(0, |event| event.created_at);
            let caused = events.into_iter().map(|event| Caused { event, of_write: None });
            let events = caused.collect();
            let commit = Commit { events, definitions, at, is_limited: true, ..Commit::default() };
            let committed = self.commit(commit).await;
            let committed = committed.map_err(|error| error.on_foreign_key(Resource::App))?;
            return Ok(match committed {
                Committed::Stale => Accepted::Stale,
                Committed::Full(full) => return Err(Error::Conflict(Conflict::StorageFull(full))),
                // No lease can be lost, and nothing was read.
                Committed::Done | Committed::Conflict | Committed::LeaseLost => Accepted::Appended,
            });
        }
        self.check_room()?;
        let (dialect, handover) = (self.inner.dialect, self.inner.handover.clone());
        let storage = self.inner.storage.clone();
        let touches = |appended: &Appended| match appended.is_to_claim {
            true => Touches::Outbox,
            false => Touches::Records,
        };
        let entry = self.entry.clone();
        let Appended { accepted, taken, .. } = self
            .inner
            .writer
            .submit(touches, move |connection| {
                Box::pin(async move {
                    if let Some(definitions) = definitions {
                        let query = sqlx::query_scalar(STORED_REVISION);
                        let stored: i64 = query.fetch_one(&mut *connection).await?;
                        if stored != definitions {
                            return Ok(Appended::nothing(Accepted::Stale));
                        }
                    }
                    let limits = (&handover, &storage);
                    let appended = append(connection, dialect, limits, events, key).await?;
                    if let Some(entry) = entry.filter(|_| appended.accepted == Accepted::Appended) {
                        audit::append(connection, &entry).await?;
                    }
                    Ok(appended)
                })
            })
            .await?;
        if let Some(taken) = taken {
            taken.hand_over();
        }
        Ok(accepted)
    }

    /// Returns the first response to an event with an idempotency key, if there is one.
    pub async fn find_first_answer(&self, event_id: &EventId) -> Result<Option<Json>> {
        let answer: Option<Option<Json>> =
            sqlx::query_scalar("SELECT answer FROM idempotency_keys WHERE event_id = $1")
                .bind(event_id)
                .fetch_optional(self.reads())
                .await?;
        Ok(answer.flatten())
    }

    /// Removes the waiting caller from an event, which then is like any other. `false` if the event
    /// is done.
    pub async fn forget_reply(&self, event_id: &EventId) -> Result<bool> {
        let event_id = event_id.clone();
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let done = sqlx::query("UPDATE outbox SET reply_to = NULL WHERE id = $1")
                    .bind(event_id)
                    .execute(connection)
                    .await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }
}

async fn append(
    connection: &mut AnyConnection,
    dialect: Dialect,
    (handover, storage): (&Handover, &StorageLimits),
    mut events: Vec<NewEvent>,
    key: Option<NewKey>,
) -> Result<Appended> {
    let no_app = |error| Error::from(error).on_foreign_key(Resource::App);
    if let Some(key) = &key {
        let inserted = sqlx::query(
            "INSERT INTO idempotency_keys (app_id, scope, idempotency_key, fingerprint, event_id, \
             answer, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (app_id, scope, idempotency_key) DO NOTHING",
        )
        .bind(&key.app_id)
        .bind(&key.scope)
        .bind(&key.key)
        .bind(&key.fingerprint)
        .bind(&key.event_id)
        .bind(&key.answer)
        .bind(key.created_at)
        .execute(&mut *connection)
        .await
        .map_err(no_app)?;
        if inserted.rows_affected() == 0 {
            let (first, fingerprint): (EventId, Option<String>) = sqlx::query_as(
                "SELECT event_id, fingerprint FROM idempotency_keys \
                 WHERE app_id = $1 AND scope = $2 AND idempotency_key = $3",
            )
            .bind(&key.app_id)
            .bind(&key.scope)
            .bind(&key.key)
            .fetch_one(connection)
            .await?;
            let is_same = fingerprint.is_some_and(|fingerprint| fingerprint == key.fingerprint);
            let accepted = if is_same { Accepted::Replayed(first) } else { Accepted::Reused };
            return Ok(Appended::nothing(accepted));
        }
    }
    // Checked after the key: a repeated response needs no space.
    let room = commit::check_events(connection, dialect, storage, &events).await?;
    room.map_err(|full| Error::Conflict(Conflict::StorageFull(full)))?;
    let on_app = |error: Error| error.on_foreign_key(Resource::App);
    let at = events.first().map_or(0, |event| event.created_at);
    let taken = handover.reserve(&mut events, at);
    if let Some(taken) = &taken {
        taken.append(connection, dialect).await.map_err(on_app)?;
    }
    let appended = outbox::append(connection, dialect, &events).await.map_err(on_app)?;
    if appended > 0 || taken.is_some() || events.is_empty() {
        let is_to_claim = appended > 0;
        return Ok(Appended { accepted: Accepted::Appended, taken, is_to_claim });
    }
    if let Some(key) = key {
        sqlx::query(
            "UPDATE idempotency_keys SET answer = $4 \
             WHERE app_id = $1 AND scope = $2 AND idempotency_key = $3",
        )
        .bind(key.app_id)
        .bind(key.scope)
        .bind(key.key)
        .bind(key.answer_when_dropped)
        .execute(connection)
        .await?;
    }
    Ok(Appended::nothing(Accepted::Dropped))
}
