//! Authentication and authorisation: identifies callers and decides what they can do.
//!
//! ```text
//! caller      the sender of a request, and how it was authenticated
//! capability  roles, capabilities and scopes; pure
//! owner_key   the owner key
//! api_keys    API keys of programs
//! audit       audit entries for what a caller does
//! accounts    users: the first owner, sign-in, invitations
//! passwords   argon2id
//! oidc        signing in with an identity provider
//! sessions    sessions of signed-in browsers
//! cookies     the platform's cookies: names, setting and reading
//! devices     browsers that have signed in before
//! browser_key the key that protects the cookies browsers store
//! tries       slows down repeated sign-in attempts
//! rates       rate limits for requests that take CPU
//! registrant  whether a trigger can still fire; pure
//! proxies     trusted proxies and their X-Forwarded headers
//! key_hash    the stored hash of a key
//! ```
//!
//! Invariant: the admin API is never open; no setting opens it.

mod accounts;
mod api_keys;
mod audit;
mod browser_key;
mod caller;
mod capability;
mod cookies;
mod devices;
mod key_hash;
mod oidc;
mod owner_key;
mod passwords;
mod principal;
mod proxies;
mod rates;
mod registrant;
mod sessions;
mod tries;

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::error::{Error, Refusal, Result};
use crate::hostname::Hostname;
use crate::serving::read_body;
use crate::store::{self, AppId, InstanceRole, Resource, Store};

pub use accounts::{
    FirstPassword, INVITATION_DAYS, Invitation, NAME_CHARS_MAX as USER_NAME_CHARS_MAX,
    check_user_name,
};
pub use api_keys::{NewKey, generate as generate_api_key, scopes_of};
pub use audit::Change;
pub use caller::{Caller, KeyGrant, Via};
pub use capability::{Capability, Scope};
pub use cookies::{is_platform_cookie, without_platform_cookies};
pub use key_hash::KeyHash;
pub use oidc::{Arrival, Departure, OidcSettings};
pub(crate) use owner_key::SETTING as OWNER_KEY_SETTING;
pub use owner_key::{OwnerKey, OwnerKeyError};
pub use passwords::{PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN};
pub use principal::Principal;
pub use proxies::{TrustedProxies, TrustedProxiesError};
pub use rates::RateSettings;
pub use registrant::{StopReason, stop_reason};
pub use sessions::{Begun, Session, SessionSettings, removed_cookie};

use browser_key::BrowserKey;
use devices::Devices;
use oidc::{Pending, Provider};
use passwords::Passwords;
use rates::Rates;
use tries::{KeyTries, Tries};

/// How callers are authenticated.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The lifetime of sessions.
    pub sessions: SessionSettings,
    /// The proxies whose `X-Forwarded-*` headers are trusted.
    pub trusted_proxies: TrustedProxies,
    /// The only host that serves the dashboard; `None` for every host.
    pub dashboard_host: Option<Hostname>,
    /// The first owner's password; `None` to generate one.
    pub admin_password: Option<FirstPassword>,
    /// The identity provider, if one is configured.
    pub oidc: Option<OidcSettings>,
    /// The rate limits for requests that take CPU.
    pub rates: RateSettings,
    /// The largest body of any request to the API, in bytes.
    pub body_bytes_max: usize,
}

/// Authenticates callers. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    inner: Arc<Inner>,
}

struct Inner {
    owner: KeyHash,
    store: Store,
    clock: Clock,
    settings: Settings,
    passwords: Passwords,
    provider: Option<Provider>,
    pending: Pending,
    devices: Devices,
    tries_of_networks: Tries<IpAddr>,
    tries_of_accounts: Tries<String>,
    tries_of_devices: Tries<String>,
    tries_of_starts: Tries<IpAddr>,
    tries_of_keys: KeyTries,
    checks: Rates,
    tests: Rates,
}

/// The result of starting authentication.
pub struct Started {
    /// Authenticates callers from now on.
    pub auth: Auth,
    /// The owner key, if it has just been generated: to be printed once.
    pub generated: Option<OwnerKey>,
    /// The password of the user `admin`, if both have just been created: to be printed once.
    pub first_password: Option<FirstPassword>,
}

impl Auth {
    /// Loads the owner key's hash. A configured key replaces the stored one and ends its sessions.
    /// Generates a key if neither exists, and creates the owner `admin` if there is no user.
    ///
    /// # Errors
    /// `Unavailable` or `Internal`, from the store.
    pub async fn start(
        store: &Store,
        clock: &Clock,
        configured: Option<&OwnerKey>,
        settings: Settings,
    ) -> Result<Started> {
        let found = owner_key::load(store, clock, configured).await?;
        let browser_key = BrowserKey::start(store, clock).await?;
        let oidc = settings.oidc.clone();
        let provider = oidc.map(|oidc| Provider::new(oidc, clock)).transpose()?;
        let rates = settings.rates.clone();
        let inner = Inner {
            owner: found.hash,
            store: store.clone(),
            clock: clock.clone(),
            settings,
            passwords: Passwords::new(clock)?,
            provider,
            pending: Pending::new(&browser_key),
            devices: Devices::new(&browser_key),
            tries_of_networks: Tries::new(tries::NETWORK),
            tries_of_accounts: Tries::new(tries::ACCOUNT),
            tries_of_devices: Tries::new(tries::DEVICE),
            tries_of_starts: Tries::new(tries::STARTS),
            tries_of_keys: KeyTries::new(),
            checks: Rates::new("check_rate", rates.checks),
            tests: Rates::new("test_rate", rates.tests),
        };
        let auth = Self { inner: Arc::new(inner) };
        let first_password = auth.make_first_owner().await?;
        Ok(Started { auth, generated: found.generated, first_password })
    }

    /// Replaces the owner key in the database; `None` if there was no key. The old key stops working
    /// at once, on running servers too. Its sessions and the API keys created with it end too.
    ///
    /// # Errors
    /// `Unavailable` or `Internal`, from the store.
    pub async fn reset(store: &Store, clock: &Clock) -> Result<Option<OwnerKey>> {
        owner_key::reset(store, clock).await
    }

    /// Whether this is the owner key. Each check reads the database, so that a replaced key is
    /// refused at once. While the database is unavailable, nothing can be changed, and the key that
    /// this server started with is accepted.
    ///
    /// # Errors
    /// `RateLimited` if the network has tried too many keys that could be guessed.
    async fn is_owner_key(&self, key: &[u8], network: Option<IpAddr>) -> Result<bool> {
        let inner = &*self.inner;
        // A key of 256 random bits cannot be guessed.
        let is_made = owner_key::is_made(key);
        let network = network.filter(|_| !is_made && !api_keys::is_key(key));
        if let Some(network) = network {
            let (tried, now) = (Sha256::digest(key).into(), inner.clock.now_us());
            inner.tries_of_keys.begin(&network, tried, now).map_err(accounts::too_many)?;
            if inner.owner.matches(key) {
                inner.tries_of_keys.was_right(&network, now);
            } else {
                inner.tries_of_keys.was_wrong(&network, tried);
            }
        }
        let is_known = inner.owner.matches(key);
        if !is_known && !is_made {
            return Ok(false);
        }
        match owner_key::is_current(&self.inner.store, key).await {
            Err(Error::Unavailable { .. }) if is_known => Ok(true),
            is_current => is_current,
        }
    }

    /// Whether the request carries a key of the platform: the owner key, or a key in the form of an
    /// API key.
    #[must_use]
    pub fn shows_a_key(&self, headers: &HeaderMap) -> bool {
        let is_one =
            |key| self.inner.owner.matches(key) || owner_key::is_made(key) || api_keys::is_key(key);
        key_of(headers).is_some_and(is_one)
    }

    /// Whether the sender of this request to a script can see its log. An error of the check counts
    /// as no.
    pub async fn sees_logs(&self, app_id: &AppId, request: &Parts) -> bool {
        let Some(key) = key_of(&request.headers) else { return false };
        // Callers of scripts also send their own keys. These are not attempts at the owner key, so
        // they are not counted, and a short key, which could be guessed, is never checked.
        if key.len() < owner_key::NEW_KEY_CHARS_MIN {
            return false;
        }
        let Ok(Some(caller)) = self.caller_with(key, None).await else { return false };
        self.allow(&caller, app_id, Capability::AppReadLogs, Resource::App).await.is_ok()
    }

    /// Identifies the caller of a request: by its key, or else by the session cookie.
    ///
    /// # Errors
    /// - `Unauthorized` without valid credentials.
    /// - `Forbidden` if another site may have sent it. `Unavailable` from the store.
    pub async fn recognise(&self, request: &Parts) -> Result<Caller> {
        let headers = &request.headers;
        let mut caller = match key_of(headers) {
            Some(key) => {
                let caller = self.caller_with(key, Some(self.network(request))).await?;
                caller.ok_or_else(Error::unauthorized)?
            }
            // A request with an `Authorization` header never falls back to the cookie.
            None if headers.contains_key(header::AUTHORIZATION) => {
                return Err(Error::unauthorized());
            }
            None => self.signed_in(request).await?,
        };
        caller.address = self.caller_address(&request.extensions, headers);
        Ok(caller)
    }

    /// Returns the caller with this key. A wrong key counts against `network`, if given.
    async fn caller_with(&self, key: &[u8], network: Option<IpAddr>) -> Result<Option<Caller>> {
        let inner = &*self.inner;
        if self.is_owner_key(key, network).await? {
            return Ok(Some(Caller::owner(Via::OwnerKey)));
        }
        match api_keys::find((&inner.store, &inner.clock), key).await? {
            Some((principal, grant)) => self.caller_as(principal, Via::ApiKey(grant)).await,
            None => Ok(None),
        }
    }

    async fn signed_in(&self, request: &Parts) -> Result<Caller> {
        let is_https = self.is_https(&request.extensions, &request.headers);
        let token = cookies::SESSION.read(&request.headers, is_https)?;
        let token = token.filter(|_| self.is_dashboard_host(&request.headers));
        let token = token.ok_or_else(Error::unauthorized)?;
        let inner = &*self.inner;
        let place = (&inner.store, &inner.clock);
        let found = sessions::find(place, inner.settings.sessions, token).await?;
        if let Some((principal, session)) = found {
            session.check(&request.method, &request.headers)?;
            if let Some(caller) = self.caller_as(principal, Via::Session(session)).await? {
                return Ok(caller);
            }
        }
        let message = "the session has expired: sign in again";
        Err(Error::Unauthorized(Refusal::new("session_expired", message)))
    }

    /// Refuses a sign-in from a page of another origin, or on a host that does not serve the
    /// dashboard.
    fn check_sign_in(&self, request: &Parts) -> Result<()> {
        sessions::check_site(&request.headers)?;
        if self.is_dashboard_host(&request.headers) {
            return Ok(());
        }
        let message = "this host does not serve the dashboard";
        Err(Error::Forbidden(Refusal::new("not_the_dashboard", message)))
    }

    /// Returns the caller of a session that has just begun.
    ///
    /// # Errors
    /// `Unauthorized` if the user was just deleted or disabled; `Unavailable` from the store.
    pub async fn signed_in_as(&self, principal: Principal, session: Session) -> Result<Caller> {
        let caller = self.caller_as(principal, Via::Session(session)).await?;
        caller.ok_or_else(Error::unauthorized)
    }

    /// Returns the principal's current state; `None` if the user is deleted or disabled.
    async fn caller_as(&self, principal: Principal, via: Via) -> Result<Option<Caller>> {
        let Principal::User(id) = &principal else { return Ok(Some(Caller::owner(via))) };
        match self.inner.store.find_user(id).await {
            Ok(user) if user.disabled_at.is_none() => {
                Ok(Some(Caller { principal, name: user.name, role: user.role, via, address: None }))
            }
            Ok(_) | Err(store::Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Counts a check of a source against its caller's rate, `check_rate`.
    ///
    /// # Errors
    /// `RateLimited`.
    pub fn count_check(&self, caller: &Caller) -> Result<()> {
        self.inner.checks.count(&caller.principal, self.inner.clock.now_us())
    }

    /// Counts a run in the test panel against its caller's rate, `test_rate`.
    ///
    /// # Errors
    /// `RateLimited`.
    pub fn count_test(&self, caller: &Caller) -> Result<()> {
        self.inner.tests.count(&caller.principal, self.inner.clock.now_us())
    }

    /// Returns the caller's role in an app.
    ///
    /// # Errors
    /// `Unavailable` from the store.
    pub async fn app_role(
        &self,
        caller: &Caller,
        app_id: &AppId,
    ) -> Result<Option<store::AppRole>> {
        match caller.user_id() {
            // Others need no membership. A member's role is read each time, so that a lost role
            // applies at once.
            Some(id) if caller.role == InstanceRole::Member => {
                Ok(self.inner.store.find_app_role(app_id, id).await?)
            }
            _ => Ok(None),
        }
    }

    /// Checks that a caller has a capability in an app; `resource` is the requested resource.
    ///
    /// # Errors
    /// `NotFound(resource)` if the caller cannot see the app; `Forbidden` without the capability.
    pub async fn allow(
        &self,
        caller: &Caller,
        app_id: &AppId,
        capability: Capability,
        resource: Resource,
    ) -> Result<()> {
        let app_role = self.app_role(caller, app_id).await?;
        caller.check_in(app_id, app_role, capability, resource)
    }

    /// The address of the request's sender; see [`TrustedProxies::caller`].
    #[must_use]
    pub fn caller_address(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        self.inner.settings.trusted_proxies.caller(extensions, headers)
    }

    /// Whether the request was sent to the dashboard's host. Only then can its response get the
    /// dashboard's origin.
    #[must_use]
    pub fn is_dashboard_host(&self, headers: &HeaderMap) -> bool {
        let Some(dashboard) = &self.inner.settings.dashboard_host else { return true };
        let host = Hostname::of_request(headers, &Uri::default());
        matches!(host, Ok(Some(host)) if host == *dashboard)
    }

    /// Whether the request came by TLS; see [`TrustedProxies::is_https`].
    #[must_use]
    pub fn is_https(&self, extensions: &Extensions, headers: &HeaderMap) -> bool {
        self.inner.settings.trusted_proxies.is_https(extensions, headers)
    }

    /// Middleware that authenticates callers; others get 401 or 403. It authenticates again after
    /// the body has arrived, because the caller's rights can end while a slow body is sent.
    pub async fn require_caller(
        State(auth): State<Self>,
        request: Request,
        next: Next,
    ) -> Response {
        let (mut parts, body) = request.into_parts();
        let recognised = async {
            let mut caller = auth.recognise(&parts).await?;
            if body.is_end_stream() {
                return Ok((caller, body));
            }
            let body = read_body(body, auth.inner.settings.body_bytes_max).await?;
            caller = auth.recognise(&parts).await?;
            Ok((caller, Body::from(body)))
        };
        match recognised.await {
            Ok((caller, body)) => {
                parts.extensions.insert(caller);
                next.run(Request::from_parts(parts, body)).await
            }
            Err(error) => Error::into_response(error),
        }
    }
}

/// Returns the key in a request's `Authorization` header.
fn key_of(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()))
}

/// Returns the credentials of the scheme `Bearer`, whose name is case-insensitive (RFC 9110,
/// section 11.1).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, credentials) = authorization.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| credentials.trim_ascii())
}

#[cfg(test)]
mod tests;
