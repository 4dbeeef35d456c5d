//! Sessions: a browser signs in once, and is then authenticated by a cookie.
//!
//! ```text
//!  sign in ─▶ cookie and CSRF token ─▶ requests ─┬─ idle for too long ───▶ expired
//!                                          ▲ │   ├─ too old ─────────────▶ expired
//!                                          └─┘   └─ signed out ──────────▶ deleted
//! ```
//!
//! The cookie is described in [`super::cookies`].
//!
//! Invariant: the cookie alone cannot change anything. A request that is not safe (RFC 9110,
//! section 9.2.1) must carry the session's CSRF token, which a page of another origin cannot read.
//! Requests from a page of another or an opaque origin are refused.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::cookies::SESSION;
use super::principal::Principal;
use crate::clock::Clock;
use crate::error::{Error, Refusal};
use crate::store::{self, Store, UserId};

/// The header of the CSRF token.
const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
/// The header in which a browser reports the origin of a request (W3C Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

const DAY_US: i64 = 24 * 3600 * 1_000_000;
/// The interval between renewals of a session in use is its idle time divided by this, so that not
/// every request writes.
const RENEWALS: i64 = 100;

/// The lifetime of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Lifetime without a request, in days.
    pub idle_days: u32,
    /// Longest lifetime, in days.
    pub days_max: u32,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { idle_days: 7, days_max: 30 }
    }
}

impl SessionSettings {
    fn idle_us(self) -> i64 {
        i64::from(self.idle_days) * DAY_US
    }

    /// Returns when a session that began at `created_at` and is used `now` expires, µs.
    fn expires_at(self, created_at: i64, now: i64) -> i64 {
        (now + self.idle_us()).min(created_at + i64::from(self.days_max) * DAY_US)
    }

    fn is_to_be_renewed(self, session: &store::Session, now: i64) -> bool {
        let later = self.expires_at(session.created_at, now) > session.expires_at;
        later && now - session.seen_at >= self.idle_us() / RENEWALS
    }
}

/// A valid session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The CSRF token that a request which changes something must carry.
    pub csrf_token: String,
    /// When it expires unless it is renewed, µs.
    pub expires_at: i64,
    pub(super) token_sha256: String,
}

impl Session {
    /// Refuses a request that another site may have made the browser send.
    pub(super) fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Error> {
        // Checked for reads too: their responses contain the token.
        check_site(headers)?;
        if method.is_safe() {
            return Ok(());
        }
        let brought = headers.get(CSRF_TOKEN).map(HeaderValue::as_bytes).unwrap_or_default();
        if bool::from(brought.ct_eq(self.csrf_token.as_bytes())) {
            return Ok(());
        }
        let message = "a request with a session needs its CSRF token: send it as `X-CSRF-Token`";
        Err(Error::Forbidden(Refusal::new("csrf_token_missing", message)))
    }
}

/// Refuses a request that, by the browser's headers, comes from a page of another origin, or of an
/// opaque one, such as a script's page (decision 15). `none` means that the user typed the address.
pub(super) fn check_site(headers: &HeaderMap) -> Result<(), Error> {
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    let is_ours = matches!(site, None | Some(b"same-origin" | b"none"));
    let has_none = headers.get(header::ORIGIN).is_some_and(|origin| origin == "null");
    if is_ours && !has_none {
        return Ok(());
    }
    let message = "the request comes from a page of another origin";
    Err(Error::Forbidden(Refusal::new("cross_site_request", message)))
}

/// A session that has just begun, and the `Set-Cookie` for its browser.
pub struct Begun {
    /// The principal.
    pub principal: Principal,
    /// The session.
    pub session: Session,
    /// The value of `Set-Cookie`.
    pub cookie: String,
}

/// Begins a session of a user, see [`Store::insert_session_of`]. With `is_https`, the cookie is
/// sent over TLS only.
pub(super) async fn begin(
    (store, clock): (&Store, &Clock),
    settings: SessionSettings,
    user_id: &UserId,
    password_hash: Option<String>,
    is_https: bool,
) -> Result<Option<Begun>, Error> {
    let principal = Principal::User(user_id.clone());
    let (now, token) = (clock.now_us(), hex::encode(clock.random::<32>()));
    let session = store::Session {
        token_sha256: sha256(&token),
        principal: principal.to_string(),
        csrf_token: hex::encode(clock.random::<32>()),
        created_at: now,
        seen_at: now,
        expires_at: settings.expires_at(now, now),
    };
    if !store.insert_session_of(session.clone(), user_id, password_hash).await? {
        return Ok(None);
    }
    let max_age_s = i64::from(settings.days_max) * DAY_US / 1_000_000;
    let cookie = SESSION.set(&token, max_age_s, is_https);
    Ok(Some(Begun { principal, session: shown(session), cookie }))
}

/// Returns the session of a token and its principal, renewed if it is due.
pub(super) async fn find(
    (store, clock): (&Store, &Clock),
    settings: SessionSettings,
    token: &str,
) -> Result<Option<(Principal, Session)>, Error> {
    let now = clock.now_us();
    let Some(mut session) = store.find_session(&sha256(token), now).await? else {
        return Ok(None);
    };
    // A principal that this version does not know has no rights.
    let Some(principal) = Principal::of(&session.principal) else { return Ok(None) };
    if settings.is_to_be_renewed(&session, now) {
        session.expires_at = settings.expires_at(session.created_at, now);
        let renewed = store.renew_session(&session.token_sha256, now, session.expires_at).await;
        if let Err(error) = renewed {
            tracing::warn!(%error, "a session was not renewed");
        }
    }
    Ok(Some((principal, shown(session))))
}

/// Returns the principal of a token's session, even an expired one, and the key of its counter;
/// `None` if it is not remembered.
pub(super) async fn remembered(
    store: &Store,
    token: &str,
) -> Result<Option<(Principal, String)>, Error> {
    let found = store.find_session(&sha256(token), i64::MIN).await?;
    Ok(found.and_then(|found| Some((Principal::of(&found.principal)?, found.token_sha256))))
}

fn shown(session: store::Session) -> Session {
    Session {
        csrf_token: session.csrf_token,
        expires_at: session.expires_at,
        token_sha256: session.token_sha256,
    }
}

pub(super) fn sha256(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

/// Returns the `Set-Cookie` that removes the cookie.
#[must_use]
pub fn removed_cookie(is_https: bool) -> String {
    SESSION.set("", 0, is_https)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_it_is_not_used_and_when_it_is_too_old() {
        let settings = SessionSettings { idle_days: 7, days_max: 30 };
        assert_eq!(settings.expires_at(0, 0), 7 * DAY_US);
        assert_eq!(settings.expires_at(0, 23 * DAY_US), 30 * DAY_US);
        assert_eq!(settings.expires_at(0, 24 * DAY_US), 30 * DAY_US);
        let short = SessionSettings { idle_days: 7, days_max: 1 };
        assert_eq!(short.expires_at(0, 0), DAY_US);
    }

    #[test]
    fn a_session_is_renewed_now_and_then_while_that_makes_it_longer() {
        let settings = SessionSettings { idle_days: 1, days_max: 2 };
        let session = |seen_at| store::Session {
            token_sha256: String::new(),
            principal: "owner".to_owned(),
            csrf_token: String::new(),
            created_at: 0,
            seen_at,
            expires_at: settings.expires_at(0, seen_at),
        };
        assert!(!settings.is_to_be_renewed(&session(0), DAY_US / 100 - 1));
        assert!(settings.is_to_be_renewed(&session(0), DAY_US / 100));
        assert!(!settings.is_to_be_renewed(&session(DAY_US), 2 * DAY_US - 1));
    }
}
