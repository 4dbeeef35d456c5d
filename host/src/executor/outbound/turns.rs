//! Limits the number of concurrent outbound requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{APP_REQUESTS_MAX, REQUESTS_MAX};
use crate::store::AppId;

/// Places for requests: per app, and in total.
pub(super) struct Turns {
    all: Arc<Semaphore>,
    apps: Mutex<HashMap<AppId, Arc<Semaphore>>>,
}

/// A place, which is released when it is dropped.
pub(super) struct Turn {
    _of_app: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(REQUESTS_MAX)), apps: Mutex::default() }
    }
}

impl Turns {
    /// Waits for a place: first among those of the app, then among all, so that a waiting app takes
    /// no place from other apps.
    pub(super) async fn take(&self, app_id: &AppId) -> Result<Turn, String> {
        let closed = |_| "the server no longer sends requests".to_owned();
        let of_app = self.of_app(app_id).acquire_owned().await.map_err(closed)?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.map_err(closed)?;
        Ok(Turn { _of_app: of_app, _of_all: of_all })
    }

    fn of_app(&self, app_id: &AppId) -> Arc<Semaphore> {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        // Only the map holds these places, so they are unused.
        apps.retain(|_, places| Arc::strong_count(places) > 1);
        let places = apps.entry(app_id.clone());
        Arc::clone(places.or_insert_with(|| Arc::new(Semaphore::new(APP_REQUESTS_MAX))))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn an_app_has_its_places_and_leaves_those_of_others() {
        let turns = Turns::default();
        let app = |number| uuid::Uuid::from_u128(number).into();
        let take = |number| turns.take(&app(number)).now_or_never().map(Result::unwrap);
        let mut held: Vec<_> = (0..APP_REQUESTS_MAX).map(|_| take(1).unwrap()).collect();
        assert!(take(1).is_none());
        assert!(take(2).is_some());
        held.pop();
        assert!(take(1).is_some());
        held.clear();
        assert!(take(2).is_some());
        assert_eq!(turns.apps.lock().unwrap().len(), 1);
    }

    #[test]
    fn all_apps_together_have_only_so_many() {
        let turns = Turns::default();
        let app = |number: usize| uuid::Uuid::from_u128(number as u128).into();
        let take = |number| turns.take(&app(number)).now_or_never().map(Result::unwrap);
        let held: Vec<_> = (0..REQUESTS_MAX).map(|n| take(n / APP_REQUESTS_MAX).unwrap()).collect();
        assert!(take(REQUESTS_MAX).is_none());
        drop(held);
        assert!(take(REQUESTS_MAX).is_some());
    }
}
