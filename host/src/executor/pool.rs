//! Execution slots: how many runs at once, and how long callers wait.
//!
//! Apps share the slots ([`Shares`]): one app cannot take them all.
//!
//! A script that calls another one keeps its slot. The called script's slot comes from a pool for
//! its depth. With a single pool, callers that hold all slots could wait for each other until they
//! time out. Deeper pools are smaller. A run only waits for runs in deeper pools, so all runs end.
//!
//! Invariant: there are as many slots as wasmtime has instances, and a slot is released only after
//! its instance.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool::managed::{BuildError, Manager, Metrics, Object, Pool, RecycleResult};

use super::settings::Settings;
use crate::error::{Error, RETRY_AFTER_S, Refusal};
use crate::metrics::Slots;
use crate::shares::{Share, Shares};
use crate::store::AppId;

/// The maximum depth of scripts that call scripts.
pub(super) const CALLS_DEPTH_MAX: u32 = 8;

/// Returns the number of slots for called scripts at each depth: `slots` at the first depth, and
/// half of the previous number at each further one.
fn called_slots(slots: usize) -> impl Iterator<Item = usize> {
    (0..CALLS_DEPTH_MAX).map(move |deeper| (slots >> deeper.min(63)).max(1))
}

/// Returns the total number of slots, which is also the number of instances.
pub(super) fn slots_in_all(slots: usize) -> usize {
    slots + called_slots(slots).sum::<usize>()
}

/// No slot came free in time. The caller can retry later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("every execution slot is taken")]
pub struct Saturated;

/// The right to one wasmtime instance.
pub(super) type Slot = Object<Slotting>;

/// A slot, and the app's share of all slots.
pub(super) struct AppSlot {
    // Released before the share, so that the next holder of the share finds a slot.
    _slot: Slot,
    _share: Share,
}

/// A waiting caller, counted until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    /// Counts a waiting caller; `None` if the queue is full.
    fn begin(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        // One more caller than the limit is counted, because it can find a slot at once.
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let counted = Self(waiting);
        (before <= most).then_some(counted)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Creates slots. A slot is only a number.
pub(super) struct Slotting(AtomicUsize);

impl Manager for Slotting {
    type Type = usize;
    type Error = Infallible;

    async fn create(&self) -> Result<usize, Infallible> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed))
    }

    async fn recycle(&self, _: &mut usize, _: &Metrics) -> RecycleResult<Infallible> {
        Ok(())
    }
}

pub(super) struct SlotPool {
    pool: Pool<Slotting>,
    /// For called scripts, by depth.
    called: Vec<Pool<Slotting>>,
    apps: Shares<Option<AppId>>,
    wait: Duration,
    waiting: AtomicUsize,
    queue_max: usize,
}

impl SlotPool {
    pub(super) fn new(settings: &Settings) -> Result<Self, std::io::Error> {
        let pool = |size: usize| {
            Pool::builder(Slotting(AtomicUsize::new(0)))
                .max_size(size)
                .build()
                .map_err(|error: BuildError| std::io::Error::other(error))
        };
        Ok(Self {
            pool: pool(settings.slots)?,
            called: called_slots(settings.slots).map(pool).collect::<Result<_, _>>()?,
            apps: Shares::new(settings.slots),
            wait: settings.queue_timeout,
            waiting: AtomicUsize::new(0),
            queue_max: settings.queue_max,
        })
    }

    /// Waits for a slot for a called script at `depth`, counted from 1. The caller's wall clock
    /// limit bounds the wait.
    pub(super) async fn get_called(&self, depth: u32) -> Result<Slot, Saturated> {
        let level = usize::try_from(depth).unwrap_or(usize::MAX).checked_sub(1);
        let pool = level.and_then(|level| self.called.get(level)).ok_or(Saturated)?;
        pool.get().await.map_err(|_| Saturated)
    }

    /// Waits for a slot for an app; `None` stands for the platform itself.
    pub(super) async fn get(&self, app: Option<&AppId>) -> Result<AppSlot, Saturated> {
        let Some(_waiting) = Waiting::begin(&self.waiting, self.queue_max) else {
            return Err(Saturated);
        };
        let slot = async {
            let share = self.apps.take(&app.cloned()).await.map_err(|_| Saturated)?;
            let slot = self.pool.get().await.map_err(|_| Saturated)?;
            Ok(AppSlot { _slot: slot, _share: share })
        };
        // With a timeout of zero, a slot that is free now is still taken.
        tokio::time::timeout(self.wait, slot).await.map_err(|_| Saturated)?
    }

    fn called_in_use(&self) -> usize {
        let in_use = |pool: &Pool<Slotting>| {
            let status = pool.status();
            status.size - status.available
        };
        self.called.iter().map(in_use).sum()
    }

    pub(super) fn slots(&self) -> Slots {
        let status = self.pool.status();
        Slots {
            size: status.max_size,
            in_use: status.size - status.available + self.called_in_use(),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }
}

impl From<Saturated> for Error {
    fn from(_: Saturated) -> Self {
        Self::Unavailable {
            refusal: Refusal::new("saturated", "every execution slot is taken"),
            retry_after_s: RETRY_AFTER_S,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_without_a_slot_is_told_when_to_come_back() {
        let refused = Error::from(Saturated);
        assert_eq!((refused.status().as_u16(), &*refused.refusal().code), (503, "saturated"));
        assert!(matches!(refused, Error::Unavailable { retry_after_s: 1, .. }));
    }
}
