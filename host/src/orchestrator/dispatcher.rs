//! The loop that delivers events.
//!
//! ```text
//!  run:    wait for places ─▶ tick ─▶ wait for: an arrival, the next due time, places
//!  tick:   claim due events ─▶ one task per event
//!  handed: events that this process appends are claimed while appended ─▶ one task per event
//!  task:   deliver (its entry in `running` keeps its lease alive)
//! ```
//!
//! The loop sleeps until there is work. On PostgreSQL, notifications of events from other nodes are
//! only hints, so the store also looks every ten seconds.
//!
//! Invariant: an idle dispatcher executes no statement on SQLite.
//! Invariant: the events in progress are bounded, in total and per app, and so are the events that
//! run at once. Requests always find a slot, and no app waits behind another's backlog.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::Orchestrator;
use crate::error::Error;
use crate::faults::{self, Point};
use crate::store::{AppId, Claim, Claimed, Event, EventId, Offer, Place, Places, Taken};

/// The maximum number of events in progress: running, waiting for a slot, or committing.
const IN_HAND_MAX: u32 = 512;
/// The number of free places to wait for while more events are due, so that claims stay large.
const ROOM_MIN: u32 = 192;
/// The number of places that a claim leaves for events appended meanwhile.
const ROOM_LEFT: usize = 64;
/// The wait after a failed claim, doubled up to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Delivers the events of a node. Cheap to clone; every clone is the same dispatcher.
#[derive(Clone)]
pub struct Dispatcher {
    inner: Arc<Inner>,
}

struct Inner {
    orchestrator: Orchestrator,
    /// The name of this process, which marks its claims.
    token: String,
    /// One place per event in progress.
    places: Arc<Places>,
    running: Mutex<HashSet<EventId>>,
}

impl Dispatcher {
    /// Creates a dispatcher for the events of all apps.
    #[must_use]
    pub fn new(orchestrator: Orchestrator) -> Self {
        let token = orchestrator.parts.node.clone();
        let places = Places::new(IN_HAND_MAX as usize, IN_HAND_MAX as usize / 2);
        let inner = Inner { orchestrator, token, places, running: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Delivers events until told to stop. Then waits for the running events and releases the
    /// others.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let parts = &self.inner.orchestrator.parts;
        let handed = parts.store.take_events(Offer {
            token: self.inner.token.clone(),
            lease_us: parts.events.lease_us(),
            places: Arc::clone(&self.inner.places),
        });
        let handed = tokio::spawn(self.clone().deliver_handed(handed));
        let heartbeat = tokio::spawn(self.clone().keep_leases());
        self.claim_and_deliver(&mut stop).await;
        parts.store.end_handover();
        // Events that have not started are released, and their attempt is not counted.
        self.inner.orchestrator.event_slots.close();
        // The semaphore is never closed.
        let _all = self.inner.places.all().acquire_many(IN_HAND_MAX).await;
        handed.abort();
        heartbeat.abort();
    }

    /// Delivers events that the store hands over.
    async fn deliver_handed(self, mut handed: mpsc::UnboundedReceiver<Taken>) {
        while let Some(Taken { event, place }) = handed.recv().await {
            faults::point(Point::AfterClaim);
            self.begin(event, place);
        }
    }

    /// Never stops during a claim: claimed events would wait until their lease expires.
    async fn claim_and_deliver(&self, stop: &mut watch::Receiver<bool>) {
        let store = &self.inner.orchestrator.parts.store;
        let mut arrivals = store.watch_outbox();
        let mut retry = RETRY_MIN;
        let mut after_app = None;
        let mut released = false;
        while !*stop.borrow() {
            // Before looking, so that an event that arrives meanwhile wakes the loop.
            arrivals.mark_unchanged();
            let ticked = async {
                if !released {
                    store.release_orphans().await?;
                }
                self.tick(&mut after_app).await
            };
            match ticked.await {
                Ok(next) => {
                    (retry, released) = (RETRY_MIN, true);
                    tokio::select! {
                        () = self.wait(next, &mut arrivals) => {}
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                }
                Err(error) => {
                    error.tell("due events could not be claimed");
                    tokio::select! {
                        () = sleep(retry) => {}
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Claims due events up to the number of free places and starts their delivery. Returns the
    /// time of the next claim.
    async fn tick(&self, after_app: &mut Option<AppId>) -> Result<Next, Error> {
        let parts = &self.inner.orchestrator.parts;
        let mut room = self.room();
        let claim = Claim {
            token: self.inner.token.clone(),
            lease_us: parts.events.lease_us(),
            events_max: room.as_ref().map_or(0, |room| room.num_permits() as i64),
            places: Arc::clone(&self.inner.places),
            after_app: after_app.take(),
            at: parts.clock.now_us(),
        };
        let Claimed { events, next_in_us, last_app, capped } =
            parts.store.claim_events(claim).await?;
        *after_app = last_app;
        if !events.is_empty() {
            faults::point(Point::AfterClaim);
        }
        for event in events {
            // A claim takes no more events than there are free places.
            let Some(permit) = room.as_mut().and_then(|room| room.split(1)) else { break };
            let place = self.inner.places.place(permit, event.app_id.clone());
            self.begin(event, place);
        }
        drop(room);
        parts.store.open_handover(next_in_us != Some(0) && capped.is_empty());
        let next_in = next_in_us.map(|us| Duration::from_micros(u64::try_from(us).unwrap_or(0)));
        Ok(Next { next_in, capped })
    }

    /// Takes places for the next claim.
    fn room(&self) -> Option<OwnedSemaphorePermit> {
        let all = self.inner.places.all();
        let free = all.available_permits().saturating_sub(ROOM_LEFT);
        Arc::clone(all).try_acquire_many_owned(u32::try_from(free).ok()?).ok()
    }

    /// Waits until there can be due events and free places.
    async fn wait(&self, next: Next, arrivals: &mut watch::Receiver<u64>) {
        let mut looks = self.inner.orchestrator.parts.store.watch_due_at();
        looks.mark_unchanged();
        let mut due_at = next.next_in.map(|due| Instant::now() + due);
        let is_capped = !next.capped.is_empty();
        loop {
            tokio::select! {
                () = self.inner.places.room_for_one_of(&next.capped), if is_capped => break,
                () = until(due_at) => break,
                // The store outlives the dispatcher, so this is an arrival.
                _ = arrivals.changed() => break,
                _ = looks.changed() => {
                    let seen = *looks.borrow_and_update();
                    due_at = due_at.into_iter().chain(seen).min();
                }
            }
        }
        // Released at once. The semaphore is never closed.
        let _room = self.inner.places.all().acquire_many(ROOM_MIN).await;
    }

    /// Delivers an event in its own task.
    fn begin(&self, event: Event, place: Place) {
        let in_hand = InHand { dispatcher: self.clone(), id: event.id.clone(), _place: place };
        self.running().insert(event.id.clone());
        tokio::spawn(async move {
            let orchestrator = &in_hand.dispatcher.inner.orchestrator;
            // Deleting an app deletes its events too.
            if let Err(error) = orchestrator.deliver(event).await
                && !matches!(error, Error::NotFound(_))
            {
                let id = &in_hand.id;
                let what = format!("the event {id} was not settled and will be delivered again");
                error.tell(&what);
            }
        });
    }

    /// Extends the leases of events in progress, long before they expire.
    async fn keep_leases(self) {
        let parts = &self.inner.orchestrator.parts;
        let lease_us = parts.events.lease_us();
        loop {
            sleep(parts.events.lease() / 3).await;
            let ids: Vec<_> = self.running().iter().cloned().collect();
            if ids.is_empty() {
                continue;
            }
            let token = self.inner.token.clone();
            if let Err(error) = parts.store.extend_leases(token, ids, lease_us).await {
                error.tell("leases could not be extended");
            }
        }
    }

    fn running(&self) -> MutexGuard<'_, HashSet<EventId>> {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event in progress. Dropping it frees its place, even if the delivery panics.
struct InHand {
    dispatcher: Dispatcher,
    id: EventId,
    _place: Place,
}

/// When more events can be claimed.
struct Next {
    next_in: Option<Duration>,
    /// The apps that have more due events than they can have in progress.
    capped: Vec<AppId>,
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.dispatcher.running().remove(&self.id);
    }
}

/// Waits until that time; forever if it is `None`.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
