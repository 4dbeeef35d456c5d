//! Fair sharing of slots between apps: one app never takes all slots.
//!
//! A request for a place waits first among the requests of its app, which get only a part of the
//! places, and then among those of all apps. So at most this number of requests of another app is
//! ahead of it, and the other places stay free for other apps.
//!
//! Invariant: an app's maximum does not depend on who waits: a place is never taken away from its
//! holder.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Places that are shared by owners, such as apps.
pub struct Shares<K> {
    all: Arc<Semaphore>,
    own: Mutex<HashMap<K, Arc<Semaphore>>>,
    own_max: usize,
}

/// A place, held until this is dropped.
pub struct Share {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// Returns how many of `places` one owner can hold: three quarters, but at least one.
#[must_use]
pub fn own_max(places: usize) -> usize {
    (places - places.div_ceil(4)).max(1)
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// Creates this number of places.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(places)),
            own: Mutex::default(),
            own_max: own_max(places),
        }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// If [`Shares::close`] was called.
    pub async fn take(&self, owner: &K) -> Result<Share, AcquireError> {
        let own = self.own(owner);
        let own = own.acquire_owned().await?;
        let all = Arc::clone(&self.all).acquire_owned().await?;
        Ok(Share { _own: own, _all: all })
    }

    /// Closes the shares: all waiting and later calls fail.
    pub fn close(&self) {
        self.all.close();
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.values().for_each(|own| own.close());
    }

    fn own(&self, owner: &K) -> Arc<Semaphore> {
        let mut all = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get(owner) {
            return Arc::clone(own);
        }
        // Only this map refers to such an entry: nothing holds or waits for its places.
        all.retain(|_, own| Arc::strong_count(own) > 1);
        let own = Arc::new(Semaphore::new(self.own_max));
        if self.all.is_closed() {
            own.close();
        }
        all.insert(owner.clone(), Arc::clone(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_never_has_all_places_but_of_one() {
        let table = [(1, 1), (2, 1), (3, 2), (4, 3), (8, 6), (64, 48)];
        for (places, most) in table {
            assert_eq!(own_max(places), most, "{places}");
        }
    }

    #[tokio::test]
    async fn an_owner_who_wants_everything_leaves_places_for_others() {
        let shares = Arc::new(Shares::new(8));
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(shares.take(&"greedy").await.unwrap());
        }
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let shares = Arc::clone(&shares);
                tokio::spawn(async move { shares.take(&"greedy").await.map(drop) })
            })
            .collect();
        tokio::task::yield_now().await;
        let modest = shares.take(&"modest").await.unwrap();
        drop(modest);
        held.clear();
        for waiting in waiting {
            waiting.await.unwrap().unwrap();
        }
        shares.close();
        assert!(shares.take(&"modest").await.is_err() && shares.take(&"new").await.is_err());
    }
}
