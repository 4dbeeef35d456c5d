//! Browsers that have signed in before. Wrong passwords from elsewhere do not slow them down.
//!
//! ```text
//!  sign in ─▶ session ─▶ /auth/me ─▶ device cookie: nonce ~ mac(account, nonce) ~ mac …
//!                                          │
//!  sign in again, from anywhere ◀──────────┘ counted by the nonce alone
//! ```
//!
//! A device proves only that it has signed in to this account. It still needs the password, and its
//! own wrong attempts slow it down. An expired session is a proof too, while it is remembered.
//! (OWASP, "Slow Down Online Guessing Attacks with Device Cookies".)
//!
//! Invariant: a cookie proves only accounts that were signed in to with it.

use axum::http::HeaderMap;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::browser_key::BrowserKey;
use super::cookies::DEVICE;
use crate::clock::Clock;

/// The lifetime of the cookie, in seconds: a year.
const MAX_AGE_S: i64 = 365 * 24 * 3600;
/// The most accounts that one browser proves; the oldest is dropped first.
const ACCOUNTS_MAX: usize = 5;
/// Separates the parts of the cookie.
const SEPARATOR: char = '~';

/// Issues and checks device cookies.
pub(super) struct Devices {
    key: [u8; 32],
}

impl Devices {
    pub(super) fn new(key: &BrowserKey) -> Self {
        Self { key: key.derived("devices") }
    }

    /// Returns the device of a request, if it has signed in to this account before.
    pub(super) fn known(
        &self,
        headers: &HeaderMap,
        is_https: bool,
        account: &str,
    ) -> Option<String> {
        let (nonce, proofs) = cookie(headers, is_https)?;
        let right = self.proof(account, nonce);
        let found =
            proofs.split(SEPARATOR).any(|proof| proof.as_bytes().ct_eq(right.as_bytes()).into());
        found.then(|| nonce.to_owned())
    }

    /// Returns the `Set-Cookie` that identifies a browser signed in to this account; `None` if it
    /// has one already.
    pub(super) fn remember(
        &self,
        clock: &Clock,
        headers: &HeaderMap,
        is_https: bool,
        account: &str,
    ) -> Option<String> {
        if self.known(headers, is_https, account).is_some() {
            return None;
        }
        let (nonce, before) = match cookie(headers, is_https) {
            Some((nonce, proofs)) => (nonce.to_owned(), proofs),
            None => (hex::encode(clock.random::<16>()), ""),
        };
        let proof = self.proof(account, &nonce);
        let proofs = std::iter::once(proof.as_str()).chain(before.split(SEPARATOR));
        let proofs = proofs.filter(|proof| !proof.is_empty()).take(ACCOUNTS_MAX);
        let parts: Vec<&str> = std::iter::once(nonce.as_str()).chain(proofs).collect();
        Some(DEVICE.set(&parts.join("~"), MAX_AGE_S, is_https))
    }

    fn proof(&self, account: &str, nonce: &str) -> String {
        let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key) else {
            return String::new();
        };
        // A nonce does not contain the separator.
        [nonce.as_bytes(), b"~", account.as_bytes()].iter().for_each(|part| mac.update(part));
        hex::encode(mac.finalize().into_bytes())
    }
}

/// Returns the nonce and the proofs in a request's cookie.
fn cookie(headers: &HeaderMap, is_https: bool) -> Option<(&str, &str)> {
    let value = DEVICE.read(headers, is_https).ok().flatten()?;
    let (nonce, proofs) = value.split_once(SEPARATOR)?;
    let is_nonce = nonce.len() == 32 && nonce.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_nonce && value.len() <= 33 + 65 * ACCOUNTS_MAX).then_some((nonce, proofs))
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    fn with(set_cookie: &str) -> HeaderMap {
        let pair = set_cookie.split(';').next().unwrap();
        HeaderMap::from_iter([(header::COOKIE, pair.parse().unwrap())])
    }

    #[test]
    fn a_device_is_known_for_the_accounts_that_it_has_signed_in_to() {
        let (devices, clock) = (Devices { key: [7; 32] }, Clock::system());
        let none = HeaderMap::new();
        assert_eq!(devices.known(&none, false, "ada"), None);
        let first = devices.remember(&clock, &none, false, "ada").unwrap();
        assert!(first.contains("; HttpOnly; SameSite=Strict; Path=/api/v1/auth; Max-Age=31536000"));
        let nonce = devices.known(&with(&first), false, "ada").unwrap();
        assert_eq!(devices.known(&with(&first), false, "eve"), None);
        assert_eq!(devices.remember(&clock, &with(&first), false, "ada"), None);
        // Another account joins, and the oldest of too many is forgotten.
        let mut cookie = first.clone();
        for other in ["b", "c", "d", "e"] {
            cookie = devices.remember(&clock, &with(&cookie), false, other).unwrap();
            assert_eq!(devices.known(&with(&cookie), false, "ada").as_deref(), Some(&*nonce));
        }
        cookie = devices.remember(&clock, &with(&cookie), false, "f").unwrap();
        assert_eq!(devices.known(&with(&cookie), false, "ada"), None);
        assert!(devices.known(&with(&cookie), false, "f").is_some());
        // A cookie made with another key, and malformed cookies.
        assert_eq!(Devices { key: [8; 32] }.known(&with(&first), false, "ada"), None);
        for wrong in ["picloud_device=", "picloud_device=abc", "picloud_device=~"] {
            assert_eq!(devices.known(&with(wrong), false, "ada"), None, "{wrong}");
        }
        let tls = devices.remember(&clock, &none, true, "ada").unwrap();
        assert!(tls.starts_with("__Host-picloud_device="), "{tls}");
        assert_eq!(devices.known(&with(&first), true, "ada"), None);
    }
}
