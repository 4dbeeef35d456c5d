//! Authenticates a request to its route and reads its body.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;

use super::guard::{Denied, Scheme, credentials};
use crate::definitions::{Match, RouteRules, Target};
use crate::error::{Error, Refusal};
use crate::orchestrator::Orchestrator;
use crate::secrets::SecretValue;
use crate::serving::read_body;
use crate::store::{HmacAuth, RouteAuth};

/// The `Retry-After` of a closed route: an operator must act first.
const SECRET_RETRY_AFTER_S: u32 = 60;

/// Returns the error of a route or app whose policy this release cannot interpret.
fn not_understood(what: &str) -> Error {
    let message = format!(
        "this {what} is closed: a newer release of PiCloud saved it; save it again to open it"
    );
    let refusal = Refusal::new("policy_not_understood", message).with("scope", what);
    Error::Unavailable { refusal, retry_after_s: SECRET_RETRY_AFTER_S }
}

/// Refuses a request to a route or an app whose policy this release cannot interpret.
///
/// # Errors
/// `Unavailable`.
pub(super) fn check_understood(found: &Match) -> Result<(), Error> {
    let is_unknown = |rules: &Arc<RouteRules>| rules.policy.auth == RouteAuth::Unknown;
    if found.route.as_ref().is_some_and(is_unknown) {
        return Err(not_understood("route"));
    }
    match &found.app {
        Some(app) if app.is_unknown => Err(not_understood("app")),
        _ => Ok(()),
    }
}

/// A request that was admitted.
pub(super) struct Admitted {
    pub(super) body: Vec<u8>,
    /// The name of the secret that admitted it; `None` if the route requires none.
    pub(super) credential: Option<String>,
    /// The id of the message, if it is signed.
    pub(super) message_id: Option<String>,
}

impl Orchestrator {
    /// Authenticates a request and reads its body. Checks the headers before it waits for the body.
    ///
    /// # Errors
    /// `Unavailable` if none of the route's secrets is set; the errors of [`read_body`].
    pub(super) async fn let_in(
        &self,
        found: &Match,
        auth: &RouteAuth,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Result<Admitted, Denied>, Error> {
        if auth.is_none() {
            let body = read_body(body, self.parts.request_bytes_max).await?;
            return Ok(Ok(Admitted { body, credential: None, message_id: None }));
        }
        let named = self.secrets_of(found, auth).await?;
        let secrets: Vec<&[u8]> = named.iter().map(|(_, s)| s.reveal().as_bytes()).collect();
        let name = |which: usize| named.get(which).map(|(name, _)| name.clone());
        let which = match auth {
            RouteAuth::Unknown => return Err(not_understood("route")),
            RouteAuth::Hmac(hmac) => {
                let signed = self.signed(hmac, &secrets, headers, body).await?;
                return Ok(signed.map(|(which, body, message_id)| Admitted {
                    body,
                    credential: name(which),
                    message_id,
                }));
            }
            RouteAuth::Key { header, .. } => {
                credentials::check_key(headers, header.as_deref(), &secrets)
            }
            RouteAuth::Basic { user, .. } => credentials::check_basic(headers, user, &secrets),
            // The route has no secrets.
            RouteAuth::None {} => Err(Denied::KeyMissing),
        };
        match which {
            Ok(which) => {
                let body = read_body(body, self.parts.request_bytes_max).await?;
                Ok(Ok(Admitted { body, credential: name(which), message_id: None }))
            }
            Err(denied) => Ok(Err(denied)),
        }
    }

    /// Returns the index of the secret that signed a request, its body, and its signed id.
    async fn signed(
        &self,
        auth: &HmacAuth,
        secrets: &[&[u8]],
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Result<(usize, Vec<u8>, Option<String>), Denied>, Error> {
        let (scheme, now_s) = (Scheme::of(auth), self.parts.clock.now_us() / 1_000_000);
        let claim = scheme.claim(headers);
        let claim = claim.and_then(|claim| claim.check_time(&scheme, now_s).map(|()| claim));
        let claim = match claim {
            Ok(claim) => claim,
            Err(denied) => return Ok(Err(denied)),
        };
        let body = read_body(body, self.parts.request_bytes_max).await?;
        let which = claim.check(&scheme, secrets, &body);
        Ok(which.map(|which| (which, body, claim.message_id)))
    }

    /// Returns the route's secrets that are set. One can be missing because it was rotated out.
    ///
    /// # Errors
    /// `Unavailable` if none is set. Without a secret no request is admitted.
    async fn secrets_of(
        &self,
        found: &Match,
        auth: &RouteAuth,
    ) -> Result<Vec<(String, SecretValue)>, Error> {
        let (app_id, mut secrets) = (&found.target.app_id, Vec::new());
        for name in auth.secrets() {
            match self.parts.secrets.reveal(app_id, name).await? {
                Some(secret) => secrets.push((name.to_owned(), secret)),
                None => {
                    let Target { app, script, .. } = &*found.target;
                    tracing::warn!(%app, %script, secret = name, "a route's secret is not set");
                }
            }
        }
        if secrets.is_empty() {
            let message = "this route's secret is not set: the app's owner must set it";
            let refusal = Refusal::new("route_secret_missing", message);
            return Err(Error::Unavailable { refusal, retry_after_s: SECRET_RETRY_AFTER_S });
        }
        Ok(secrets)
    }
}
