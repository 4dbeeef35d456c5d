//! Execution slots: how many runs at once, and who waits how long.
//!
//! A script that calls another one keeps its slot meanwhile. The other one's comes from
//! a second pool of the same size, and is not waited for long: were there one pool,
//! callers that hold all slots could wait for each other until their time was up.
//!
//! Invariant: there are as many slots as wasmtime has instances, and a slot is
//! given back only after its instance.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{BuildError, Manager, Metrics, Object, Pool, RecycleResult};

use super::Settings;

/// How long a script that is called by another one waits for a slot.
const INNER_WAIT: Duration = Duration::from_secs(1);

/// Every slot was taken for as long as a call may wait. Try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("every execution slot is taken")]
pub struct Saturated;

/// How busy the slots are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// How many executions can run at once.
    pub size: usize,
    /// How many run.
    pub in_use: usize,
    /// How many wait.
    pub waiting: usize,
}

/// The right to one wasmtime instance.
pub(super) type Slot = Object<Slotting>;

/// Makes slots; a slot is nothing but its number.
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
    inner: Pool<Slotting>,
    queue_max: usize,
}

impl SlotPool {
    pub(super) fn new(settings: &Settings) -> Result<Self, std::io::Error> {
        let pool = |wait: Duration| {
            Pool::builder(Slotting(AtomicUsize::new(0)))
                .max_size(settings.slots)
                .wait_timeout(Some(wait))
                .runtime(Runtime::Tokio1)
                .build()
                .map_err(|error: BuildError| std::io::Error::other(error))
        };
        Ok(Self {
            pool: pool(settings.queue_timeout)?,
            inner: pool(INNER_WAIT)?,
            queue_max: settings.queue_max,
        })
    }

    /// Waits a moment for a slot of a script that is called by another one.
    pub(super) async fn get_inner(&self) -> Result<Slot, Saturated> {
        self.inner.get().await.map_err(|_| Saturated)
    }

    /// Waits for a slot.
    pub(super) async fn get(&self) -> Result<Slot, Saturated> {
        if self.pool.status().waiting >= self.queue_max {
            return Err(Saturated);
        }
        self.pool.get().await.map_err(|_| Saturated)
    }

    fn inner_in_use(&self) -> usize {
        let status = self.inner.status();
        status.size - status.available
    }

    pub(super) fn slots(&self) -> Slots {
        let status = self.pool.status();
        Slots {
            size: status.max_size,
            in_use: status.size - status.available + self.inner_in_use(),
            waiting: status.waiting,
        }
    }
}
