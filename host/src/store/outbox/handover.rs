//! Events that this process takes as it appends them.
//!
//! ```text
//!        ┌───── a claim has left nothing that is due ─────┐
//!        ▼                                                │
//!  open ─┬─ append, places free ─▶ appended as claimed, handed over after the COMMIT
//!        └─ append, none free ───▶ closed: it waits, and what comes waits behind it
//! ```
//!
//! To be claimed, a row that was written a moment ago would be found, locked and
//! written anew with most of its indexes: more than it cost to append it (decision 11).
//! While something that is due waits, nothing is taken past it: a claim shares its
//! places out among the apps.
//!
//! Invariant: an event is handed over after the COMMIT that it speaks of, and only if
//! that was answered. Of one that was not, the lease runs out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::{AnyConnection, AssertSqlSafe};
use tokio::sync::mpsc;

use super::{Event, NewEvent, Place, Places};
use crate::store::dialect::Dialect;
use crate::store::{Result, Store, bulk};

/// What a dispatcher offers to take.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Names its claims.
    pub token: String,
    /// For how long it takes an event at first, µs.
    pub lease_us: i64,
    /// How many events it takes at once: one place for each.
    pub places: Arc<Places>,
}

/// An event that was claimed when it was appended.
#[derive(Debug)]
pub struct Taken {
    /// The event, its first attempt counted.
    pub event: Event,
    /// Its place, given back when this is dropped.
    pub place: Place,
}

/// Where those who append meet the one who takes.
#[derive(Clone, Default)]
pub(in crate::store) struct Handover {
    taker: Arc<Mutex<Option<Taker>>>,
}

struct Taker {
    offer: Offer,
    is_open: bool,
    /// Holds no more than there are places.
    taken: mpsc::UnboundedSender<Taken>,
}

/// Events that have places; without a COMMIT they are given back.
pub(in crate::store) struct Reserved {
    events: Vec<(NewEvent, Place)>,
    offer: Offer,
    at: i64,
    taken: mpsc::UnboundedSender<Taken>,
}

impl Handover {
    /// Moves those of the `events` that can be taken now out of them; `at` is when
    /// their first attempt begins, µs.
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
    /// Appends them, inside of a transaction, with their first attempt counted.
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

    /// Hands them over. Whoever took them may have gone; their leases then run out.
    pub(in crate::store) fn hand_over(self) {
        for (event, place) in self.events {
            let event = first_attempt(event, &self.offer.token, self.at);
            let _ = self.taken.send(Taken { event, place });
        }
    }
}

impl Store {
    /// Takes events from now on as this process appends them, once
    /// [`Store::open_handover`] says that nothing waits. They come after they are on
    /// disk, each with one of the offered places.
    #[must_use]
    pub fn take_events(&self, offer: Offer) -> mpsc::UnboundedReceiver<Taken> {
        let (taken, receiver) = mpsc::unbounded_channel();
        *self.inner.handover.lock() = Some(Taker { offer, is_open: false, taken });
        receiver
    }

    /// Whether events are taken as they are appended: while nothing that is due waits.
    pub fn open_handover(&self, is_open: bool) {
        if let Some(taker) = self.inner.handover.lock().as_mut() {
            taker.is_open = is_open;
        }
    }

    /// Takes no more. The channel of [`Store::take_events`] ends when the last commit
    /// under way has.
    pub fn end_handover(&self) {
        *self.inner.handover.lock() = None;
    }
}

/// Whether an event can begin as soon as it is accepted. One with a dedupe key first has
/// to be seen waiting.
fn is_ready(event: &NewEvent) -> bool {
    event.script_id.is_some() && event.delay_us <= 0 && event.dedupe_key.is_none()
}

/// The event as a claim would have read it.
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
