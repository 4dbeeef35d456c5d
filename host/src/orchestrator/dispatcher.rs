//! The loop that carries out events.
//!
//! ```text
//!  run:  wait for room ─▶ tick ─▶ wait for: an arrival, the next due time, room
//!  tick: claim what is due ─▶ one task for each event
//!  task: deliver (its place in `running` keeps its lease alive)
//! ```
//!
//! It sleeps until there is something to do. On PostgreSQL, where others append too,
//! an arrival elsewhere is only hinted at, so it also looks every ten seconds.
//!
//! Invariant: an idle dispatcher executes no statement on SQLite.
//! Invariant: events in hand are bounded, and so are those that run at once, so that
//! requests always find a slot.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::Orchestrator;
use crate::error::Error;
use crate::faults::{self, Point};
use crate::store::{AppId, Claim, Claimed, Event, EventId};

/// How many events are in hand at once: running, waiting for a slot, being committed.
const IN_HAND_MAX: usize = 512;
/// So much room is waited for while more is due, so that claims stay large.
const ROOM_MIN: usize = 128;
/// The wait after a failed claim, doubled up to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often a shared database is looked at without being told to.
const POLL: Duration = Duration::from_secs(10);

/// Carries out the events of a node. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Dispatcher {
    inner: Arc<Inner>,
}

struct Inner {
    orchestrator: Orchestrator,
    /// Names this process: its claims are nobody else's.
    token: String,
    running: Mutex<HashSet<EventId>>,
    /// Something is no longer in hand.
    freed: Notify,
}

impl Dispatcher {
    /// A dispatcher for the events of all apps.
    #[must_use]
    pub fn new(orchestrator: Orchestrator) -> Self {
        let token = orchestrator.parts.node.clone();
        let inner = Inner { orchestrator, token, running: Mutex::default(), freed: Notify::new() };
        Self { inner: Arc::new(inner) }
    }

    /// Carries out events until told to stop; then it waits for those in hand.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let heartbeat = tokio::spawn(self.clone().keep_leases());
        tokio::select! {
            () = self.claim_and_deliver() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        while !self.running().is_empty() {
            self.inner.freed.notified().await;
        }
        heartbeat.abort();
    }

    async fn claim_and_deliver(&self) {
        let store = &self.inner.orchestrator.parts.store;
        let mut arrivals = store.watch_outbox();
        let mut retry = RETRY_MIN;
        let mut after_app = None;
        let mut released = false;
        loop {
            // Before looking: what comes while we look wakes us afterwards.
            arrivals.mark_unchanged();
            let ticked = async {
                if !released {
                    store.release_orphans().await?;
                }
                self.tick(&mut after_app).await
            };
            match ticked.await {
                Ok(next_in) => {
                    (retry, released) = (RETRY_MIN, true);
                    self.wait(next_in, &mut arrivals).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "due events could not be claimed");
                    sleep(retry).await;
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Claims what is due and there is room for, and begins to deliver it. Says when
    /// there will be more.
    async fn tick(&self, after_app: &mut Option<AppId>) -> Result<Option<Duration>, Error> {
        let parts = &self.inner.orchestrator.parts;
        let room = IN_HAND_MAX.saturating_sub(self.running().len());
        let claim = Claim {
            token: self.inner.token.clone(),
            lease_us: parts.events.lease_us(),
            events_max: i64::try_from(room).unwrap_or(i64::MAX),
            after_app: after_app.take(),
            at: parts.clock.now_us(),
        };
        let Claimed { events, next_in_us, last_app } = parts.store.claim_events(claim).await?;
        *after_app = last_app;
        if !events.is_empty() {
            faults::point(Point::AfterClaim);
        }
        for event in events {
            self.running().insert(event.id.clone());
            tokio::spawn(self.clone().deliver(event));
        }
        Ok(next_in_us.map(|us| Duration::from_micros(u64::try_from(us).unwrap_or(0))))
    }

    /// Looks when there will be something to claim on a database that others use too: an
    /// event of theirs, or one whose lease they let run out.
    async fn peek(&self) -> Option<Instant> {
        match self.inner.orchestrator.parts.store.next_event_in().await {
            Ok(next_in) => {
                let next_in_us = u64::try_from(next_in?).unwrap_or(0);
                Some(Instant::now() + Duration::from_micros(next_in_us))
            }
            Err(error) => {
                tracing::warn!(%error, "the outbox could not be looked at");
                None
            }
        }
    }

    /// Waits until there may be something to do, and room to do it.
    async fn wait(&self, next_in: Option<Duration>, arrivals: &mut watch::Receiver<u64>) {
        let is_shared = self.inner.orchestrator.parts.store.is_shared();
        let mut due_at = next_in.map(|due| Instant::now() + due);
        loop {
            tokio::select! {
                () = until(due_at) => break,
                // The store outlives us, so this is an arrival.
                _ = arrivals.changed() => break,
                () = sleep(POLL), if is_shared => {
                    due_at = due_at.into_iter().chain(self.peek().await).min();
                }
            }
        }
        loop {
            let freed = self.inner.freed.notified();
            if IN_HAND_MAX - self.running().len().min(IN_HAND_MAX) >= ROOM_MIN {
                return;
            }
            freed.await;
        }
    }

    async fn deliver(self, event: Event) {
        let id = event.id.clone();
        let _in_hand = InHand { dispatcher: &self, id: &id };
        if let Err(error) = self.inner.orchestrator.deliver(event).await {
            tracing::warn!(%error, event = %id, "an event was not settled and comes again");
        }
    }

    /// Extends the leases of what is in hand, long before they end.
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
                tracing::warn!(%error, "leases could not be extended");
            }
        }
    }

    fn running(&self) -> MutexGuard<'_, HashSet<EventId>> {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event in hand; let go of also when its delivery panics.
struct InHand<'a> {
    dispatcher: &'a Dispatcher,
    id: &'a EventId,
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.dispatcher.running().remove(self.id);
        self.dispatcher.inner.freed.notify_waiters();
        // Also for one who is about to wait.
        self.dispatcher.inner.freed.notify_one();
    }
}

/// Until that time; for ever without one.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
