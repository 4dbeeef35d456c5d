//! Pending sign-ins. Each is stored in a cookie of its own browser that only the server can read
//! and create. So pending sign-ins cannot displace each other, and another node can complete them.
//!
//! Invariant: a sign-in is completed once, in time, by the browser that started it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::provider::Secrets;
use crate::auth::browser_key::{BrowserKey, KEY_BYTES};
use crate::clock::Clock;

/// The most completed sign-ins that are remembered to refuse a repetition. The provider also
/// refuses a code that comes twice.
const FINISHED_MAX: usize = 10_000;
/// The associated data that is authenticated with a cookie.
const PURPOSE: &[u8] = b"picloud pending sign-in v1";
const NONCE_BYTES: usize = 24;

/// A pending sign-in.
#[derive(Serialize, Deserialize)]
pub(super) struct Started {
    /// The secrets of the exchange with the provider.
    pub(super) secrets: Secrets,
    /// The page to return to.
    pub(super) return_to: String,
    /// The token of the invitation whose user gets the identity.
    pub(super) invitation: Option<String>,
    /// When it expires, µs.
    pub(super) expires_at: i64,
}

/// Encrypts and decrypts pending sign-ins, and remembers the completed ones.
pub(in crate::auth) struct Pending {
    key: [u8; KEY_BYTES],
    /// The expiry times of completed sign-ins, by their `state`.
    finished: Mutex<HashMap<String, i64>>,
}

impl Pending {
    pub(in crate::auth) fn new(key: &BrowserKey) -> Self {
        Self { key: key.derived("oidc"), finished: Mutex::default() }
    }

    /// Returns the cookie's value; `None` if encryption fails, which never happens.
    pub(super) fn begin(&self, clock: &Clock, started: &Started) -> Option<String> {
        let text = serde_json::to_vec(started).ok()?;
        let nonce = clock.random::<NONCE_BYTES>();
        let payload = Payload { msg: &text, aad: PURPOSE };
        let cipher = XChaCha20Poly1305::new(&self.key.into());
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// Returns the sign-in in a browser's cookie, if it has this `state`.
    pub(super) fn finish(&self, kept: &str, state: &str, now: i64) -> Option<Started> {
        let bytes = URL_SAFE_NO_PAD.decode(kept).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: PURPOSE };
        let cipher = XChaCha20Poly1305::new(&self.key.into());
        let text = cipher.decrypt(&XNonce::from(*nonce), payload).ok()?;
        let started: Started = serde_json::from_slice(&text).ok()?;
        let is_it = bool::from(started.secrets.state.as_bytes().ct_eq(state.as_bytes()));
        if !is_it || started.expires_at <= now {
            return None;
        }
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        finished.retain(|_, expires_at| *expires_at > now);
        if finished.len() >= FINISHED_MAX {
            let oldest = finished.iter().min_by_key(|(_, expires_at)| **expires_at);
            if let Some(state) = oldest.map(|(state, _)| state.clone()) {
                finished.remove(&state);
            }
        }
        let is_first = finished.insert(state.to_owned(), started.expires_at).is_none();
        is_first.then_some(started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(expires_at: i64) -> Started {
        Started {
            secrets: Secrets::new(&Clock::system()),
            return_to: "/".to_owned(),
            invitation: None,
            expires_at,
        }
    }

    fn pending(key: u8) -> Pending {
        Pending { key: [key; KEY_BYTES], finished: Mutex::default() }
    }

    #[test]
    fn a_sign_in_comes_back_once_in_time_and_to_its_browser() {
        let (pending, clock) = (pending(1), Clock::system());
        let (one, other) = (started(10), started(10));
        let kept = pending.begin(&clock, &one).unwrap();
        assert!(pending.finish(&kept, "b", 0).is_none());
        assert!(
            pending
                .finish(&pending.begin(&clock, &other).unwrap(), &one.secrets.state, 0)
                .is_none()
        );
        assert!(pending.finish("", &one.secrets.state, 0).is_none());
        assert!(pending.finish(&kept[1..], &one.secrets.state, 0).is_none());
        assert!(pending.finish(&kept, &one.secrets.state, 10).is_none());
        assert!(pending.finish(&kept, &one.secrets.state, 9).is_some());
        assert!(pending.finish(&kept, &one.secrets.state, 9).is_none());
        // Another server with the same key completes it; one with another key does not.
        assert!(super::tests::pending(1).finish(&kept, &one.secrets.state, 9).is_some());
        assert!(super::tests::pending(2).finish(&kept, &one.secrets.state, 9).is_none());
    }

    #[test]
    fn however_many_others_begin_or_come_back_one_is_not_forgotten() {
        let (pending, clock) = (pending(1), Clock::system());
        let first = started(100);
        let kept = pending.begin(&clock, &first).unwrap();
        for _ in 0..=FINISHED_MAX {
            let other = started(50);
            let kept = pending.begin(&clock, &other).unwrap();
            assert!(pending.finish(&kept, &other.secrets.state, 0).is_some());
        }
        assert_eq!(pending.finished.lock().unwrap().len(), FINISHED_MAX);
        assert!(pending.finish(&kept, &first.secrets.state, 0).is_some());
    }
}
