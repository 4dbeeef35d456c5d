//! Who calls the admin API.
//!
//! ```text
//! owner_key  the key of the owner
//! sessions   a browser that has shown the key, by its cookie
//! tries      how fast keys may be tried at sign-in
//! proxies    whose word is taken for where a request came from
//! ```
//!
//! Invariant: the admin API is never open; there is no setting that opens it.

mod owner_key;
mod proxies;
mod sessions;
mod tries;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::clock::Clock;
use crate::error::{Error, Refusal};
use crate::store::Store;

pub use owner_key::{OwnerKey, OwnerKeyError};
pub use proxies::{TrustedProxies, TrustedProxiesError};
pub use sessions::{Begun, COOKIE, Session, SessionSettings, removed_cookie, without_token};

use owner_key::KeyHash;
use tries::Tries;

/// Somebody or something that may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Whoever has the owner key.
    Owner,
}

impl Principal {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
        }
    }

    /// The principal of that name, if there is one.
    fn of(name: &str) -> Option<Self> {
        (name == Self::Owner.as_str()).then_some(Self::Owner)
    }
}

/// Who has sent a request, and how that is known.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is.
    pub principal: Principal,
    /// The session; none for a caller with a key.
    pub session: Option<Session>,
}

/// What callers are recognised by.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How long sessions last.
    pub sessions: SessionSettings,
    /// Whose word is taken for where a request came from.
    pub trusted_proxies: TrustedProxies,
    /// The only host that the dashboard is on, in lower case; every host without one.
    pub dashboard_host: Option<String>,
}

/// Recognises callers. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    inner: Arc<Inner>,
}

struct Inner {
    owner: KeyHash,
    store: Store,
    clock: Clock,
    settings: Settings,
    tries: Tries,
}

/// What the start of a server found out about the owner key.
pub struct Started {
    /// What recognises callers from now on.
    pub auth: Auth,
    /// The key, if there was none and it has just been made: to be printed once.
    pub generated: Option<OwnerKey>,
}

impl Auth {
    /// Loads the owner key's hash. A configured key replaces it, and ends the sessions
    /// of another one; when there is neither, a key is made.
    ///
    /// # Errors
    /// `Unavailable` or `Internal`, from the store.
    pub async fn start(
        store: &Store,
        clock: &Clock,
        configured: Option<&OwnerKey>,
        settings: Settings,
    ) -> Result<Started, Error> {
        let found = owner_key::load(store, clock, configured).await?;
        let (store, clock) = (store.clone(), clock.clone());
        let inner = Inner { owner: found.hash, store, clock, settings, tries: Tries::default() };
        Ok(Started { auth: Self { inner: Arc::new(inner) }, generated: found.generated })
    }

    /// Puts a new owner key in the place of the one in the database; `None` when
    /// there was none. Its sessions end. Servers that are running go on with the old
    /// key until they are started again.
    ///
    /// # Errors
    /// `Unavailable` or `Internal`, from the store.
    pub async fn reset(store: &Store, clock: &Clock) -> Result<Option<OwnerKey>, Error> {
        owner_key::reset(store, clock).await
    }

    /// Whether the request carries the owner key, as `Authorization: Bearer KEY`.
    #[must_use]
    pub fn is_owner(&self, headers: &HeaderMap) -> bool {
        headers
            .get(header::AUTHORIZATION)
            .and_then(|value| bearer(value.as_bytes()))
            .is_some_and(|key| self.inner.owner.matches(key))
    }

    /// Who has sent a request: whoever has the key in it, else whoever is signed in by
    /// its cookie.
    ///
    /// # Errors
    /// `Unauthorized`; `Forbidden` for a request that another site may have made a
    /// browser send; `Unavailable` from the store.
    pub async fn recognise(&self, method: &Method, headers: &HeaderMap) -> Result<Caller, Error> {
        if self.is_owner(headers) {
            return Ok(Caller { principal: Principal::Owner, session: None });
        }
        // Whoever shows a key means the key.
        if headers.contains_key(header::AUTHORIZATION) {
            return Err(Error::unauthorized());
        }
        let token = sessions::token_of(headers).filter(|_| self.is_dashboard_host(headers));
        let token = token.ok_or_else(Error::unauthorized)?;
        let inner = &*self.inner;
        let place = (&inner.store, &inner.clock);
        match sessions::find(place, inner.settings.sessions, token).await? {
            Some((principal, session)) => {
                session.check(method, headers)?;
                Ok(Caller { principal, session: Some(session) })
            }
            None => Err(Error::Unauthorized(Refusal::new(
                "session_expired",
                "the session is over: sign in again",
            ))),
        }
    }

    /// Begins a session for whoever shows the owner key.
    ///
    /// # Errors
    /// `Unauthorized` for another key; `RateLimited` after too many of them;
    /// `Forbidden` for a request from another site; `Unavailable` from the store.
    pub async fn sign_in(&self, key: &str, request: &Parts) -> Result<Begun, Error> {
        sessions::check_site(&request.headers)?;
        if !self.is_dashboard_host(&request.headers) {
            let message = "this host is not the dashboard's";
            return Err(Error::Forbidden(Refusal::new("not_the_dashboard", message)));
        }
        let inner = &*self.inner;
        let from = self.caller_address(&request.extensions, &request.headers);
        let from = from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let tried =
            inner.tries.attempt(from, inner.clock.now_us(), || inner.owner.matches(key.as_bytes()));
        match tried {
            Ok(true) => {}
            Ok(false) => {
                let refusal = Refusal::new("wrong_key", "this is not the owner key");
                return Err(Error::Unauthorized(refusal));
            }
            Err(retry_after_s) => {
                let message = "too many wrong keys were tried; wait before the next";
                let refusal = Refusal::new("too_many_sign_ins", message);
                let refusal = refusal.with("retry_after_s", retry_after_s);
                return Err(Error::RateLimited { refusal, retry_after_s });
            }
        }
        let is_https = self.is_https(&request.extensions, &request.headers);
        let place = (&inner.store, &inner.clock);
        sessions::begin(place, inner.settings.sessions, Principal::Owner, is_https).await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// `Unavailable` from the store.
    pub async fn sign_out(&self, session: &Session) -> Result<(), Error> {
        Ok(self.inner.store.delete_session(&session.token_sha256).await?)
    }

    /// The address that a request came from; see [`TrustedProxies::caller`].
    #[must_use]
    pub fn caller_address(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        self.inner.settings.trusted_proxies.caller(extensions, headers)
    }

    /// Whether a request was sent to the host that the dashboard is on, so that a page which
    /// answers it may have the dashboard's origin.
    #[must_use]
    pub fn is_dashboard_host(&self, headers: &HeaderMap) -> bool {
        let Some(dashboard) = &self.inner.settings.dashboard_host else { return true };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        host.is_some_and(|host| without_port(host).eq_ignore_ascii_case(dashboard))
    }

    /// Whether a request came by TLS; see [`TrustedProxies::is_https`].
    #[must_use]
    pub fn is_https(&self, extensions: &Extensions, headers: &HeaderMap) -> bool {
        self.inner.settings.trusted_proxies.is_https(extensions, headers)
    }

    /// Middleware that lets only callers through who are recognised, and says who it
    /// is; everybody else gets 401 or 403.
    pub async fn require_caller(
        State(auth): State<Self>,
        mut request: Request,
        next: Next,
    ) -> Response {
        match auth.recognise(request.method(), request.headers()).await {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            Err(error) => error.into_response(),
        }
    }
}

/// Behind [`Auth::require_caller`] only.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Error::internal("nobody was asked who is calling"))
    }
}

/// A host without its port (RFC 9110, section 7.2).
#[must_use]
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The credentials of the scheme `Bearer`, whose name has no case (RFC 9110,
/// section 11.1).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, credentials) = authorization.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| credentials.trim_ascii())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::store::DatabaseUrl;

    fn with(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            header::AUTHORIZATION,
            HeaderValue::from_str(authorization).unwrap(),
        )])
    }

    async fn open(folder: &tempfile::TempDir) -> Store {
        let url = DatabaseUrl::sqlite_file(&folder.path().join("picloud.db")).unwrap();
        Store::open(&url).await.unwrap()
    }

    #[tokio::test]
    async fn only_the_key_itself_is_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let (store, clock) = (open(&folder).await, Clock::system());
        let key: OwnerKey = "pco_0123456789abcdef".parse().unwrap();
        let started = Auth::start(&store, &clock, Some(&key), Settings::default()).await.unwrap();
        let auth = started.auth;
        assert!(auth.is_owner(&with("Bearer pco_0123456789abcdef")));
        assert!(auth.is_owner(&with("bearer  pco_0123456789abcdef ")));
        for wrong in [
            "Bearer pco_0123456789abcdeF",
            "Bearer pco_0123456789abcde",
            "Bearer",
            "Bearer ",
            "",
            "pco_0123456789abcdef",
            "Basic pco_0123456789abcdef",
        ] {
            assert!(!auth.is_owner(&with(wrong)), "{wrong}");
        }
        assert!(!auth.is_owner(&HeaderMap::new()));
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_key_is_made_once_and_replaced_by_a_configured_one_or_a_reset() {
        let folder = tempfile::tempdir().unwrap();
        let (store, clock) = (open(&folder).await, Clock::system());
        let start = async |configured: Option<&OwnerKey>| {
            Auth::start(&store, &clock, configured, Settings::default()).await.unwrap()
        };
        let is_let_in = async |key: &OwnerKey| {
            start(None).await.auth.is_owner(&with(&format!("Bearer {}", key.reveal())))
        };

        assert_eq!(Auth::reset(&store, &clock).await.unwrap(), None);
        let first = start(None).await.generated.unwrap();
        assert!(first.reveal().starts_with("pco_") && first.reveal().len() == 4 + 64);
        assert!(is_let_in(&first).await);
        assert!(start(None).await.generated.is_none());

        let configured: OwnerKey = "0123456789abcdef".parse().unwrap();
        assert!(start(Some(&configured)).await.generated.is_none());
        assert!(is_let_in(&configured).await && !is_let_in(&first).await);

        let reset = Auth::reset(&store, &clock).await.unwrap().unwrap();
        assert!(is_let_in(&reset).await && !is_let_in(&configured).await);
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn the_sessions_of_a_key_end_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (store, clock) = (open(&folder).await, Clock::system());
        let place = (&store, &clock);
        let settings = SessionSettings::default();
        let begin = async || {
            let begun = sessions::begin(place, settings, Principal::Owner, false).await.unwrap();
            let (pair, _) = begun.cookie.split_once(';').unwrap();
            pair.split_once('=').unwrap().1.to_owned()
        };
        let goes_on =
            async |token: &str| sessions::find(place, settings, token).await.unwrap().is_some();
        let start = async |key: &str| {
            let key: OwnerKey = key.parse().unwrap();
            Auth::start(&store, &clock, Some(&key), Settings::default()).await.unwrap();
        };
        start("0123456789abcdef").await;
        let token = begin().await;
        start("0123456789abcdef").await;
        assert!(goes_on(&token).await, "the key is the same");
        start("another-0123456789abcdef").await;
        assert!(!goes_on(&token).await);
        let token = begin().await;
        Auth::reset(&store, &clock).await.unwrap().unwrap();
        assert!(!goes_on(&token).await);
        store.close().await.unwrap();
    }
}
