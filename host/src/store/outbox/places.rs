//! Limits the number of running events on a node, in total and per app.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::store::AppId;

/// An app at its limit gets no more events until this many of its places are free again, so that
/// claims stay large.
const APP_ROOM_MIN: usize = 64;

/// The places for running events: they limit a node's total and each app's part of it.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    in_hand: Mutex<HashMap<AppId, usize>>,
    app_max: usize,
    room_min: usize,
    /// Signals that an app at its limit has room again.
    app_has_room: Notify,
}

/// The place of one running event, freed when this is dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    app_id: AppId,
    places: Arc<Places>,
}

impl Places {
    /// Returns `count` places, of which one app can take at most `app_max`.
    #[must_use]
    pub fn new(count: usize, app_max: usize) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(count)),
            in_hand: Mutex::default(),
            app_max,
            room_min: APP_ROOM_MIN.min(app_max),
            app_has_room: Notify::new(),
        })
    }

    /// Returns the semaphore of all places.
    #[must_use]
    pub fn all(&self) -> &Arc<Semaphore> {
        &self.all
    }

    /// Returns how many more events of an app can be claimed: 0 until several places are free.
    #[must_use]
    pub fn room_of(&self, app_id: &AppId) -> usize {
        let in_hand = self.in_hand().get(app_id).copied().unwrap_or(0);
        match self.app_max.saturating_sub(in_hand) {
            room if room >= self.room_min => room,
            _ => 0,
        }
    }

    /// Waits until one of the apps has room: see [`Places::room_of`].
    pub async fn room_for_one_of(&self, apps: &[AppId]) {
        loop {
            let signal = self.app_has_room.notified();
            // Looks only after this is registered, so that no signal is missed. The signal alone
            // does not suffice: an app can have room since before the wait.
            if apps.iter().any(|app_id| self.room_of(app_id) > 0) {
                return;
            }
            signal.await;
        }
    }

    /// Returns the place of a claimed event, using a permit of [`Places::all`].
    #[must_use]
    pub fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit, app_id: AppId) -> Place {
        *self.in_hand().entry(app_id.clone()).or_default() += 1;
        Place { _permit: permit, app_id, places: Arc::clone(self) }
    }

    /// Returns a place for an event of an app, if one is free for it.
    pub(super) fn take(self: &Arc<Self>, app_id: &AppId) -> Option<Place> {
        let mut in_hand = self.in_hand();
        let of_app = in_hand.get(app_id).copied().unwrap_or(0);
        if of_app >= self.app_max {
            return None;
        }
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        in_hand.insert(app_id.clone(), of_app + 1);
        drop(in_hand);
        Some(Place { _permit: permit, app_id: app_id.clone(), places: Arc::clone(self) })
    }

    fn in_hand(&self) -> MutexGuard<'_, HashMap<AppId, usize>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Places { app_max, room_min, app_has_room, .. } = &*self.places;
        let mut in_hand = self.places.in_hand();
        let Some(of_app) = in_hand.get_mut(&self.app_id) else { return };
        *of_app -= 1;
        if *of_app == app_max - room_min {
            app_has_room.notify_waiters();
        }
        if *of_app == 0 {
            in_hand.remove(&self.app_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    /// Returns places for `count` events of an app.
    fn take(places: &Arc<Places>, app_id: &AppId, count: usize) -> Vec<Place> {
        (0..count).map(|_| places.take(app_id).unwrap()).collect()
    }

    #[test]
    fn nobody_waits_for_room_that_came_before_the_wait() {
        let places = Places::new(512, 256);
        let apps: [AppId; 1] = ["01900000-0000-7000-8000-000000000001".parse().unwrap()];
        let mut in_hand = take(&places, &apps[0], 200);
        assert_eq!(places.room_of(&apps[0]), 0);
        assert_eq!(places.room_for_one_of(&apps).now_or_never(), None, "56 places are too few");
        // A claim takes all the room that it saw, while other events of the app end.
        in_hand.truncate(100);
        in_hand.extend(take(&places, &apps[0], 64));
        assert_eq!(places.room_for_one_of(&apps).now_or_never(), Some(()));
    }

    #[tokio::test]
    async fn a_wait_ends_when_enough_places_are_free() {
        let places = Places::new(512, 256);
        let apps: [AppId; 1] = ["01900000-0000-7000-8000-000000000001".parse().unwrap()];
        let mut in_hand = take(&places, &apps[0], 256);
        let mut wait = Box::pin(places.room_for_one_of(&apps));
        in_hand.truncate(193);
        assert_eq!((&mut wait).now_or_never(), None);
        in_hand.truncate(192);
        assert_eq!((&mut wait).now_or_never(), Some(()));
    }
}
