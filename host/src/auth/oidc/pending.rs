//! Sign-ins that have begun and not come back yet. They are lost when the server stops:
//! whoever was on the way begins again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::provider::Secrets;
use crate::auth::key_hash::KeyHash;

/// How many are remembered; the oldest are forgotten first.
const PENDING_MAX: usize = 1000;

/// A sign-in on its way.
pub(super) struct Started {
    /// What the provider was told, and will be asked for.
    pub(super) secrets: Secrets,
    /// The hash of its browser's cookie.
    pub(super) browser: KeyHash,
    /// The page that it wants.
    pub(super) return_to: String,
    /// Whose identity it is to become.
    pub(super) invitation: Option<String>,
    /// When its time is up, µs.
    pub(super) expires_at: i64,
}

/// All of them, by their `state`.
#[derive(Default)]
pub(in crate::auth) struct Pending(Mutex<HashMap<String, Started>>);

impl Pending {
    pub(super) fn begin(&self, state: String, started: Started, now: i64) {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|_, started| started.expires_at > now);
        if pending.len() >= PENDING_MAX {
            let oldest = pending.iter().min_by_key(|(_, started)| started.expires_at);
            if let Some(state) = oldest.map(|(state, _)| state.clone()) {
                pending.remove(&state);
            }
        }
        pending.insert(state, started);
    }

    /// Takes one: it comes back once.
    pub(super) fn finish(&self, state: &str, now: i64) -> Option<Started> {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.remove(state).filter(|started| started.expires_at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn started(expires_at: i64) -> Started {
        Started {
            secrets: Secrets::new(&Clock::system()),
            browser: KeyHash::of(b"browser"),
            return_to: "/".to_owned(),
            invitation: None,
            expires_at,
        }
    }

    #[test]
    fn a_sign_in_comes_back_once_and_in_time() {
        let pending = Pending::default();
        pending.begin("a".to_owned(), started(10), 0);
        assert!(pending.finish("b", 0).is_none());
        assert!(pending.finish("a", 9).is_some());
        assert!(pending.finish("a", 9).is_none());
        pending.begin("a".to_owned(), started(10), 0);
        assert!(pending.finish("a", 10).is_none());
    }

    #[test]
    fn so_many_are_remembered_and_the_oldest_is_forgotten() {
        let pending = Pending::default();
        for number in 0..=PENDING_MAX as i64 {
            pending.begin(number.to_string(), started(1000 + number), 0);
        }
        assert!(pending.finish("0", 0).is_none());
        assert!(pending.finish("1", 0).is_some());
        assert_eq!(pending.0.lock().unwrap().len(), PENDING_MAX - 1);
    }
}
