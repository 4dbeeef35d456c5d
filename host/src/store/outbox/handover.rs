//! Claims events for this process as it appends them.
//!
//! ```text
//!        ┌────── a claim has left no due event ───────────┐
//!        ▼                                                │
//!  open ─┬─ append, places free ─▶ appended as claimed, handed over after the COMMIT
//!        └─ append, none free ───▶ closed: this and later events stay pending
//! ```
//!
//! A claim would have to find and lock a row that was just written, and rewrite it with most of its
//! indexes. That costs more than appending it (decision 11). While a due event is pending, none are
//! handed over past it, because claims share the places fairly among the apps.
//!
//! Invariant: an event is handed over after its COMMIT, and only if the COMMIT was confirmed.
//! Otherwise its lease expires.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::{AnyConnection, AssertSqlSafe};
use tokio::sync::mpsc;

use super::{Event, NewEvent, Place, Places};
use crate::store::dialect::Dialect;
use crate::store::{Result, Store, bulk};

/// The offer of a dispatcher to take events.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The token of its claims.
    pub token: String,
    /// The duration of the first lease, µs.
    pub lease_us: i64,
    /// The places for running events: one event takes one place.
    pub places: Arc<Places>,
}

/// An event that was claimed when it was appended.
#[derive(Debug)]
pub struct Taken {
    /// The event, with its first attempt counted.
    pub event: Event,
    /// Its place, freed when this is dropped.
    pub place: Place,
}

/// Connects the code that appends events with the dispatcher that takes them.
#[derive(Clone, Default)]
pub(in crate::store) struct Handover {
    taker: Arc<Mutex<Option<Taker>>>,
}

struct Taker {
    offer: Offer,
    is_open: bool,
    /// Holds at most as many events as there are places.
    taken: mpsc::UnboundedSender<Taken>,
}

/// Events with reserved places; without a COMMIT the places are freed.
pub(in crate::store) struct Reserved {
    events: Vec<(NewEvent, Place)>,
    offer: Offer,
    at: i64,
    taken: mpsc::UnboundedSender<Taken>,
}

impl Handover {
    /// Moves the events that can be claimed now out of `events`. Their first attempt begins at
    /// `at`, µs.
    pub(in crate::store) fn reserve(
        &self,
        events: &mut Vec<NewEvent>,
        at: i64,
    ) -> Option<Reserved> {
        let mut taker = self.lock();
        let Taker { offer, taken, .. } = taker.as_ref().filter(|taker| taker.is_open)?;
        let mut reserved = Vec::new();
        let mut left = Vec::with_capacity(events.len());
        let mut all_taken = true;
        for event in events.drain(..) {
            if !is_ready(&event) {
                left.push(event);
                continue;
            }
            match offer.places.take(&event.app_id) {
                Some(place) => reserved.push((event, place)),
                None => {
                    all_taken = false;
                    left.push(event);
                }
            }
        }
        *events = left;
        let (offer, taken) = (offer.clone(), taken.clone());
        if !all_taken && let Some(taker) = taker.as_mut() {
            taker.is_open = false;
        }
        (!reserved.is_empty()).then_some(Reserved { events: reserved, offer, at, taken })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Taker>> {
        self.taker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    /// Appends the events inside a transaction, with their first attempt counted.
    pub(in crate::store) async fn append(
        &self,
        connection: &mut AnyConnection,
        dialect: Dialect,
    ) -> Result<()> {
        let lease = format!("{} + $3", dialect.now());
        let further = [
            ("attempt", "1"),
            ("lease_token", "$2"),
            ("leased_until", &lease),
            ("first_attempt_at", "CAST($4 AS BIGINT)"),
            ("last_attempt_at", "CAST($4 AS BIGINT)"),
        ];
        let statement = bulk::insert_statement_with::<NewEvent>(dialect, "outbox", &further, "");
        sqlx::query(AssertSqlSafe(statement))
            .bind(bulk::rows_json(self.events.iter().map(|(event, _)| event))?)
            .bind(&self.offer.token)
            .bind(self.offer.lease_us)
            .bind(self.at)
            .execute(connection)
            .await?;
        Ok(())
    }

    /// Hands the events over. If the receiver was dropped, their leases expire.
    pub(in crate::store) fn hand_over(self) {
        for (event, place) in self.events {
            let event = first_attempt(event, &self.offer.token, self.at);
            let _ = self.taken.send(Taken { event, place });
        }
    }
}

impl Store {
    /// Claims events as this process appends them, once [`Store::open_handover`] is called with
    /// `true`. The channel receives them after they are on disk, each with one of the offered
    /// places.
    #[must_use]
    pub fn take_events(&self, offer: Offer) -> mpsc::UnboundedReceiver<Taken> {
        let (taken, receiver) = mpsc::unbounded_channel();
        *self.inner.handover.lock() = Some(Taker { offer, is_open: false, taken });
        receiver
    }

    /// Sets whether events are claimed as they are appended: only while no due event is pending.
    pub fn open_handover(&self, is_open: bool) {
        if let Some(taker) = self.inner.handover.lock().as_mut() {
            taker.is_open = is_open;
        }
    }

    /// Ends the handover. The channel of [`Store::take_events`] closes after the last pending
    /// commit.
    pub fn end_handover(&self) {
        *self.inner.handover.lock() = None;
    }
}

/// Whether an event can begin as soon as it is accepted. An event with a dedupe key must first be
/// pending.
fn is_ready(event: &NewEvent) -> bool {
    event.script_id.is_some() && event.delay_us <= 0 && event.dedupe_key.is_none()
}

/// Returns the event as a claim would have read it.
fn first_attempt(event: NewEvent, token: &str, at: i64) -> Event {
    Event {
        id: event.id,
        app_id: event.app_id,
        trigger_id: event.trigger_id,
        script_id: event.script_id,
        script_version: event.script_version,
        kind: event.kind,
        operation: event.operation,
        source: event.source,
        payload: event.payload,
        principal: event.principal,
        depth: event.depth,
        attempt: 1,
        available_at: event.created_at,
        leased_until: None,
        lease_token: Some(token.to_owned()),
        reply_to: event.reply_to,
        dead_letter_id: event.dead_letter_id,
        caused_by: event.caused_by,
        first_attempt_at: Some(at),
        last_attempt_at: Some(at),
        last_error: None,
        created_at: event.created_at,
    }
}
