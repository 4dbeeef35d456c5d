//! Execution slots: how many runs at once, and who waits how long.
//!
//! Invariant: there are as many slots as wasmtime has instances, and a slot is
//! given back only after its instance.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use deadpool::Runtime;
use deadpool::managed::{BuildError, Manager, Metrics, Object, Pool, RecycleResult};

use super::Settings;

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
    queue_max: usize,
}

impl SlotPool {
    pub(super) fn new(settings: &Settings) -> Result<Self, std::io::Error> {
        let pool = Pool::builder(Slotting(AtomicUsize::new(0)))
            .max_size(settings.slots)
            .wait_timeout(Some(settings.queue_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error: BuildError| std::io::Error::other(error))?;
        Ok(Self { pool, queue_max: settings.queue_max })
    }

    /// Waits for a slot.
    pub(super) async fn get(&self) -> Result<Slot, Saturated> {
        if self.pool.status().waiting >= self.queue_max {
            return Err(Saturated);
        }
        self.pool.get().await.map_err(|_| Saturated)
    }

    pub(super) fn slots(&self) -> Slots {
        let status = self.pool.status();
        Slots {
            size: status.max_size,
            in_use: status.size - status.available,
            waiting: status.waiting,
        }
    }
}
