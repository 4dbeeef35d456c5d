//! The client of the identity provider, based on the `openidconnect` library.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use chrono::DateTime;
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AsyncHttpClient, AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest,
    HttpResponse, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{OidcSettings, refused};
use crate::clock::Clock;
use crate::error::{Error, Refusal, Result};

/// The timeout of a request to the provider.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest response, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The cache time of the provider's metadata, µs: its keys change.
const METADATA_US: i64 = 3600 * 1_000_000;

/// The secrets that identify and protect one sign-in.
#[derive(Serialize, Deserialize)]
pub(super) struct Secrets {
    pub(super) state: String,
    nonce: String,
    verifier: String,
}

impl Secrets {
    pub(super) fn new(clock: &Clock) -> Self {
        let [state, nonce, verifier] = [(); 3].map(|()| hex::encode(clock.random::<32>()));
        Self { state, nonce, verifier }
    }
}

/// The identity of a user at the provider.
pub(super) struct Identity {
    pub(super) subject: String,
    /// The preferred name.
    pub(super) name: Option<String>,
}

/// The provider.
pub(in crate::auth) struct Provider {
    settings: OidcSettings,
    clock: Clock,
    http: Http,
    /// The cached metadata, and when it was read, µs.
    metadata: Mutex<Option<(CoreProviderMetadata, i64)>>,
}

impl Provider {
    /// # Errors
    /// If TLS cannot be set up.
    pub(in crate::auth) fn new(settings: OidcSettings, clock: &Clock) -> Result<Self> {
        // Installing it a second time changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            // A forged response must not redirect us elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .user_agent("PiCloud")
            .build()
            .map_err(Error::internal)?;
        Ok(Self { settings, clock: clock.clone(), http: Http(http), metadata: Mutex::default() })
    }

    pub(super) fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    pub(super) fn allows_sign_up(&self) -> bool {
        self.settings.sign_up
    }

    /// Returns the address where a browser signs in.
    pub(super) async fn authorize_url(&self, secrets: &Secrets) -> Result<String> {
        let metadata = self.metadata().await?;
        let client = CoreClient::from_provider_metadata(
            metadata,
            ClientId::new(self.settings.client_id.clone()),
            self.client_secret(),
        )
        .set_redirect_uri(self.redirect_url()?);
        let verifier = PkceCodeVerifier::new(secrets.verifier.clone());
        let (state, nonce) = (secrets.state.clone(), secrets.nonce.clone());
        let (url, ..) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .add_scope(Scope::new("profile".to_owned()))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(url.into())
    }

    /// Exchanges a code for the user's identity, at the time `now`, µs.
    pub(super) async fn identify(
        &self,
        code: &str,
        secrets: &Secrets,
        now: i64,
    ) -> Result<Identity> {
        let metadata = self.metadata().await?;
        let client = CoreClient::from_provider_metadata(
            metadata,
            ClientId::new(self.settings.client_id.clone()),
            self.client_secret(),
        )
        .set_redirect_uri(self.redirect_url()?);
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| not_done("has no token endpoint", &error))?
            .set_pkce_verifier(PkceCodeVerifier::new(secrets.verifier.clone()));
        let answer = request.request_async(&self.http).await.map_err(|error| {
            tracing::warn!(%error, "the identity provider did not exchange a code");
            refused("oidc_refused", "the identity provider did not confirm the sign-in")
        })?;
        let wrong = |error: &dyn std::fmt::Display| {
            tracing::warn!(%error, "an identity token is not valid");
            refused("oidc_refused", "the identity provider's token is not valid")
        };
        let token = answer.extra_fields().id_token().ok_or_else(|| wrong(&"it is missing"))?;
        let time = move || DateTime::from_timestamp_micros(now).unwrap_or_default();
        let verifier = client.id_token_verifier().set_time_fn(time);
        let nonce = Nonce::new(secrets.nonce.clone());
        let claims = token.claims(&verifier, &nonce).map_err(|error| wrong(&error))?;
        Ok(Identity {
            subject: claims.subject().as_str().to_owned(),
            name: claims.preferred_username().map(|name| name.as_str().to_owned()),
        })
    }

    /// Returns the metadata, read again after [`METADATA_US`].
    async fn metadata(&self) -> Result<CoreProviderMetadata> {
        let now = self.clock.now_us();
        let mut known = self.metadata.lock().await;
        if let Some((metadata, read_at)) = &*known
            && now - read_at < METADATA_US
        {
            return Ok(metadata.clone());
        }
        let issuer = IssuerUrl::new(self.settings.issuer.clone()).map_err(Error::internal)?;
        let metadata = CoreProviderMetadata::discover_async(issuer, &self.http)
            .await
            .map_err(|error| not_done("does not answer", &error))?;
        *known = Some((metadata.clone(), now));
        Ok(metadata)
    }

    fn client_secret(&self) -> Option<ClientSecret> {
        self.settings.client_secret.clone().map(ClientSecret::new)
    }

    fn redirect_url(&self) -> Result<RedirectUrl> {
        RedirectUrl::new(self.settings.redirect_url()).map_err(Error::internal)
    }
}

/// Sends the library's requests.
struct Http(reqwest::Client);

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = SendError;
    type Future =
        Pin<Box<dyn Future<Output = std::result::Result<HttpResponse, SendError>> + Send>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move {
            let mut answer = client.execute(reqwest::Request::try_from(request)?).await?;
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                    return Err(SendError::TooLarge);
                }
                body.extend_from_slice(&chunk);
            }
            let mut response = HttpResponse::new(body);
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            Ok(response)
        })
    }
}

/// Why a request to the provider failed.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("its response is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Http(#[from] reqwest::Error),
}

fn not_done(what: &str, error: &dyn std::error::Error) -> Error {
    tracing::warn!(error = %causes(error), "the identity provider {what}");
    let message = format!("the identity provider {what}; try again later");
    Error::Unavailable { refusal: Refusal::new("oidc_unavailable", message), retry_after_s: 5 }
}

/// Returns the text of an error with all its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        said = format!("{said}: {deeper}");
        cause = deeper.source();
    }
    said
}
