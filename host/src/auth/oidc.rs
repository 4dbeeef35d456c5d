//! Signing in with an identity provider: OpenID Connect's authorization code flow with PKCE.
//!
//! ```text
//!  start ─▶ pending (state, nonce, verifier; kept by the browser) ─▶ provider
//!                                                                       │
//!  session ◀─ known identity ◀─ token checked ◀─ code exchanged ◀─ callback
//!         ◀─ invited, linked now ◀──┤
//!         ◀─ created, if allowed ◀──┘
//! ```
//!
//! An identity is the provider's issuer and subject, never a name or an address, which could belong
//! to another person later. An existing user is linked by an invitation only.
//!
//! Invariant: a callback works once, within ten minutes, in the browser that started it.
//! Invariant: the server stores nothing about a pending sign-in.
//! Source: OpenID Connect Core 1.0; RFC 7636 (PKCE); RFC 9700.

mod pending;
mod provider;

use std::net::IpAddr;

use axum::http::request::Parts;
use serde_json::json;

use super::accounts::too_many;
use super::cookies::OIDC;
use super::sessions::Begun;
use super::{Auth, Change, Principal, check_user_name};
use crate::error::{Error, Refusal, Result};
use crate::store::{self, InstanceRole, Resource, User, UserChange, UserId};

pub(super) use pending::Pending;
use pending::Started;
use provider::Identity;
pub(super) use provider::Provider;

/// The longest path of a page to return to, in bytes: it is stored in a cookie.
const RETURN_TO_BYTES_MAX: usize = 1024;
/// The lifetime of a pending sign-in, in seconds.
const PENDING_S: i64 = 600;

/// The settings of the identity provider.
#[derive(Clone)]
pub struct OidcSettings {
    /// The issuer, as in its discovery document.
    pub issuer: String,
    /// PiCloud's client id at the provider.
    pub client_id: String,
    /// PiCloud's client secret at the provider; `None` for a public client.
    pub client_secret: Option<String>,
    /// The label of the sign-in button.
    pub name: String,
    /// Whether users of the provider become members without an invitation.
    pub sign_up: bool,
    /// PiCloud's address for browsers, without a slash at the end.
    pub public_url: String,
}

impl std::fmt::Debug for OidcSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OidcSettings").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl OidcSettings {
    /// Returns the redirect URL to register with the provider.
    #[must_use]
    pub fn redirect_url(&self) -> String {
        format!("{}/api/v1/auth/oidc/callback", self.public_url)
    }
}

/// The redirect to the provider, and the cookie that binds it to the browser.
pub struct Departure {
    /// The provider's address.
    pub url: String,
    /// The value of `Set-Cookie`.
    pub cookie: String,
}

/// A completed sign-in.
pub struct Arrival {
    /// The new session.
    pub begun: Begun,
    /// The page to return to, a path of this server.
    pub return_to: String,
}

/// Returns `wanted` if it is a path of this server, otherwise `/`.
fn local_path(wanted: &str) -> String {
    let is_local = wanted.starts_with('/')
        && !wanted.starts_with("//")
        && wanted.len() <= RETURN_TO_BYTES_MAX
        && !wanted.contains(['\\', '\r', '\n', '\t'])
        && wanted.is_ascii();
    if is_local { wanted.to_owned() } else { "/".to_owned() }
}

impl Auth {
    /// Returns the label of the sign-in button; `None` without a provider.
    #[must_use]
    pub fn oidc_name(&self) -> Option<&str> {
        self.inner.settings.oidc.as_ref().map(|settings| settings.name.as_str())
    }

    /// Starts a sign-in. With an `invitation`, the identity is linked to the invited user.
    ///
    /// # Errors
    /// `NotFound` without a provider, or if the invitation is not valid. `Forbidden` for a request
    /// from another site. `RateLimited` if the network starts too many. `Unavailable` if the
    /// provider does not answer.
    pub async fn oidc_start(
        &self,
        return_to: &str,
        invitation: Option<&str>,
        request: &Parts,
    ) -> Result<Departure> {
        self.check_sign_in(request)?;
        let provider = self.provider()?;
        if let Some(token) = invitation {
            self.invited(token).await?;
        }
        let (clock, network) = (&self.inner.clock, self.network(request));
        let now = clock.now_us();
        self.inner.tries_of_starts.begin(&network, now).map_err(too_many)?;
        let secrets = provider::Secrets::new(clock);
        let url = provider.authorize_url(&secrets).await?;
        let started = Started {
            secrets,
            return_to: local_path(return_to),
            invitation: invitation.map(str::to_owned),
            expires_at: now + PENDING_S * 1_000_000,
        };
        let kept = self.inner.pending.begin(clock, &started);
        let kept = kept.ok_or_else(|| Error::internal("a pending sign-in cannot be sealed"))?;
        let is_https = self.is_https(&request.extensions, &request.headers);
        Ok(Departure { url, cookie: OIDC.set(&kept, PENDING_S, is_https) })
    }

    /// Completes a sign-in: `code` and `state` are the provider's parameters.
    ///
    /// # Errors
    /// `Unauthorized` with the code `oidc_expired`, `oidc_refused`, `oidc_unknown_user` or
    /// `oidc_disabled_user`. `Conflict` if another user has the identity. `Unavailable`.
    pub async fn oidc_finish(&self, code: &str, state: &str, request: &Parts) -> Result<Arrival> {
        let provider = self.provider()?;
        let is_https = self.is_https(&request.extensions, &request.headers);
        let kept = OIDC.read(&request.headers, is_https)?;
        let now = self.inner.clock.now_us();
        let started = kept.and_then(|kept| self.inner.pending.finish(kept, state, now));
        let Some(started) = started else {
            return Err(refused("oidc_expired", "the sign-in took too long: try again"));
        };
        let identity = provider.identify(code, &started.secrets, now).await?;
        let address = self.caller_address(&request.extensions, &request.headers);
        let invitation = started.invitation.as_deref();
        let id = self.user_of(provider, &identity, invitation, address).await?;
        let begun = self.begin_session(id, None, request).await?;
        // A completed sign-in no longer counts as pending.
        self.inner.tries_of_starts.take_back(&self.network(request), now);
        Ok(Arrival { begun, return_to: started.return_to })
    }

    fn provider(&self) -> Result<&Provider> {
        self.inner.provider.as_ref().ok_or_else(|| {
            let message = "no identity provider is configured";
            Error::NotFound(Refusal::new("oidc_not_configured", message))
        })
    }

    /// Returns the user of an identity. Links an invited user to it, and creates a user who can
    /// sign up.
    async fn user_of(
        &self,
        provider: &Provider,
        identity: &Identity,
        invitation: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<UserId> {
        let (store, issuer) = (&self.inner.store, provider.issuer());
        if let Some(token) = invitation {
            let user = self.invited(token).await?;
            let identity = Some((issuer.to_owned(), identity.subject.clone()));
            self.accept(&user.id, token, UserChange { identity, ..UserChange::default() }).await?;
            return Ok(user.id);
        }
        match store.find_user_by_identity(issuer, &identity.subject).await {
            Ok(user) if user.disabled_at.is_none() => Ok(user.id),
            Ok(_) => Err(refused("oidc_disabled_user", "this user is disabled")),
            Err(store::Error::NotFound(_)) if provider.allows_sign_up() => {
                self.sign_up(issuer, identity, address).await
            }
            Err(store::Error::NotFound(_)) => {
                let message = "no user has this identity: ask for an invitation";
                Err(refused("oidc_unknown_user", message))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a member from an identity, with the name from the provider.
    async fn sign_up(
        &self,
        issuer: &str,
        identity: &Identity,
        address: Option<IpAddr>,
    ) -> Result<UserId> {
        let wanted = identity.name.as_deref().unwrap_or(&identity.subject).to_lowercase();
        check_user_name(&wanted)?;
        let now = self.inner.clock.now_us();
        let id = UserId::from(self.inner.clock.new_id());
        let user = User {
            id: id.clone(),
            name: wanted,
            role: InstanceRole::Member,
            password_hash: None,
            invitation_sha256: None,
            invitation_expires_at: None,
            invited_by: None,
            invited_with: None,
            oidc_issuer: Some(issuer.to_owned()),
            oidc_subject: Some(identity.subject.clone()),
            disabled_at: None,
            signed_in_at: None,
            created_at: now,
            updated_at: now,
        };
        // A name that is already taken stays with its user.
        let change = Change::new("sign_up", Resource::User, id.as_str(), &user.name);
        let change = change.to(&json!({ "role": user.role, "issuer": issuer }));
        let by = Principal::User(id.clone());
        let entry = change.by(&by, &user.name, address, &self.inner.clock);
        self.inner.store.on_behalf(entry).insert_user(user).await?;
        Ok(id)
    }
}

fn refused(code: &'static str, message: &str) -> Error {
    Error::Unauthorized(Refusal::new(code, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_this_server_is_returned_to() {
        for local in ["/", "/apps/shop?x=1#y", "/a//b"] {
            assert_eq!(local_path(local), local);
        }
        for other in [
            "",
            &"/".repeat(RETURN_TO_BYTES_MAX + 1),
            "https://evil.test",
            "//evil.test",
            "/\\evil.test",
            "evil",
            "/a\r\nb",
            "/é",
        ] {
            assert_eq!(local_path(other), "/", "{other:?}");
        }
    }
}
