//! The inbox: callers who wait for the answer to an event.
//!
//! ```text
//!  wait ─▶ waiting ──take──▶ being answered ──▶ answered
//!             │                                    │
//!             ├─ the caller leaves: the event is   └─ the caller leaves: the answer
//!             │  one like any other                   is kept as abandoned
//!             └─ cancel ─▶ told that there is no answer
//! ```
//!
//! A caller is told first that the answer is coming, and then the answer, so that a
//! failure is not tried again exactly when somebody has been told of it.
//!
//! Invariant: an entry is gone when its event is answered or all its callers are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::work::Finished;
use crate::store::EventId;

/// How many callers wait at most, over all events.
const CALLERS_MAX: usize = 10_000;

/// What a caller is told.
pub(super) type Reply = Arc<Finished>;

type Coming = oneshot::Receiver<Reply>;

/// The callers who wait at this node.
#[derive(Default)]
pub(super) struct Inbox {
    waiting: Mutex<HashMap<EventId, Vec<oneshot::Sender<Coming>>>>,
}

/// Callers who have been told that their answer is coming.
pub(super) struct Callers(Vec<oneshot::Sender<Reply>>);

impl Inbox {
    /// Waits for the answer to an event; to be called before the event is appended.
    /// `None` when too many wait already.
    pub(super) fn wait(&self, event_id: &EventId) -> Option<oneshot::Receiver<Coming>> {
        let mut waiting = self.waiting();
        let (coming, told) = oneshot::channel();
        if waiting.len() >= CALLERS_MAX {
            waiting.retain(|_, callers| callers.iter().any(|caller| !caller.is_closed()));
            if waiting.len() >= CALLERS_MAX {
                return None;
            }
        }
        waiting.entry(event_id.clone()).or_default().push(coming);
        Some(told)
    }

    /// Tells the callers of an event that their answer is coming; `None` when nobody
    /// waits any more.
    pub(super) fn take(&self, event_id: &EventId) -> Option<Callers> {
        let callers = self.waiting().remove(event_id)?;
        let mut told = Vec::with_capacity(callers.len());
        for caller in callers {
            let (answer, coming) = oneshot::channel();
            if caller.send(coming).is_ok() {
                told.push(answer);
            }
        }
        (!told.is_empty()).then_some(Callers(told))
    }

    /// The event is cancelled: each of its callers gets an error in the place of an answer.
    pub(super) fn cancel(&self, event_id: &EventId) {
        self.waiting().remove(event_id);
    }

    /// Nobody waits for this event: it was not appended, or its callers are gone.
    pub(super) fn forget(&self, event_id: &EventId) {
        let mut waiting = self.waiting();
        if let Some(callers) = waiting.get_mut(event_id) {
            callers.retain(|caller| !caller.is_closed());
            if callers.is_empty() {
                waiting.remove(event_id);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<EventId, Vec<oneshot::Sender<Coming>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Callers {
    /// Gives them their answer; `false` when all of them have left meanwhile.
    pub(super) fn answer(self, reply: &Reply) -> bool {
        let sent = self.0.into_iter().map(|caller| caller.send(Arc::clone(reply)).is_ok());
        sent.fold(false, |any, sent| any | sent)
    }
}
