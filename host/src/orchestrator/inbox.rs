//! The inbox: callers that wait for the response to an event.
//!
//! ```text
//!  wait ─▶ waiting ──take──▶ being answered ──▶ answered
//!             │                                    │
//!             ├─ the caller leaves: the event is   └─ the caller leaves: the response
//!             │  delivered like any other             is stored as abandoned
//!             └─ cancel ─▶ told that there is no response
//! ```
//!
//! A caller is first told that the response is coming, and then gets it. So a failed event is
//! retried only if no caller has been told.
//!
//! Invariant: an entry is removed when its event is answered or all its callers have left.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::work::RecordedRun;
use crate::store::EventId;

/// The maximum number of waiting callers, over all events.
const CALLERS_MAX: usize = 10_000;

/// The result that a caller gets.
pub(super) type Reply = Arc<RecordedRun>;

type Coming = oneshot::Receiver<Reply>;

/// The callers that wait at this node.
#[derive(Default)]
pub(super) struct Inbox {
    waiting: Mutex<HashMap<EventId, Vec<oneshot::Sender<Coming>>>>,
}

/// Callers that were told that their response is coming.
pub(super) struct Callers(Vec<oneshot::Sender<Reply>>);

impl Inbox {
    /// Waits for the response to an event. Must be called before the event is appended. Returns
    /// `None` if too many callers wait already.
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

    /// Tells the callers of an event that their response is coming. Returns `None` if no caller
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

    /// Gives the callers of a cancelled event an error instead of a response.
    pub(super) fn cancel(&self, event_id: &EventId) {
        self.waiting().remove(event_id);
    }

    /// Removes callers that have left, or whose event was not appended.
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
    /// Sends the callers their response. Returns `false` if all of them have left.
    pub(super) fn answer(self, reply: &Reply) -> bool {
        let sent = self.0.into_iter().map(|caller| caller.send(Arc::clone(reply)).is_ok());
        sent.fold(false, |any, sent| any | sent)
    }
}
