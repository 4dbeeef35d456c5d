//! The authentication of requests to a route. Pure: takes the request, the secrets and the time;
//! returns the reason for a refusal, if there is one.
//!
//! ```text
//! claim        the values that the headers of a signed request claim
//! credentials  a secret, or a user and a secret, in a header
//! schemes      where each webhook sender puts its signature, and what it signs
//! signatures   verifies signatures
//! ```
//!
//! Invariant: without a secret no request is admitted. An empty secret counts as missing.
//! Invariant: a comparison takes the same time for a wrong and a right secret of one length.

mod claim;
pub(super) mod credentials;
mod schemes;
pub(super) mod signatures;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::error::{Error, Refusal};
use crate::store::RouteAuth;
pub(super) use schemes::Scheme;

/// A secret, exactly as it was set.
pub(super) type Secret<'a> = &'a [u8];

/// The reason why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// The header with the secret is missing or malformed.
    KeyMissing,
    /// The secret is wrong.
    KeyInvalid,
    /// There is no valid `Authorization: Basic` header.
    CredentialsMissing,
    /// The user or the secret is wrong.
    CredentialsInvalid,
    /// This header is missing, repeated, or malformed.
    SignatureMissing(HeaderName),
    /// The signing time is too far in the past or the future.
    SignatureExpired,
    /// The signature does not match any secret and the body.
    SignatureInvalid,
}

impl Denied {
    fn refusal(&self) -> Refusal {
        match self {
            Self::KeyMissing => Refusal::new("key_missing", "this route needs a key"),
            Self::KeyInvalid => Refusal::new("key_invalid", "the key is not valid for this route"),
            Self::CredentialsMissing => {
                Refusal::new("credentials_missing", "this route needs a user and a password")
            }
            Self::CredentialsInvalid => {
                Refusal::new("credentials_invalid", "the user or the password is wrong")
            }
            Self::SignatureMissing(header) => {
                let message = format!("the header {header} is missing or cannot be read");
                Refusal::new("signature_missing", message).with("header", header.as_str())
            }
            Self::SignatureExpired => Refusal::new(
                "signature_expired",
                "the signing time is too far in the past or the future",
            ),
            Self::SignatureInvalid => {
                Refusal::new("signature_invalid", "the signature does not match this body")
            }
        }
    }

    /// Returns the authentication challenge (RFC 9110, section 11.6.1), which every 401 must have.
    /// No scheme is registered for signatures.
    fn challenge(&self) -> &'static str {
        match self {
            Self::KeyMissing | Self::KeyInvalid => "Bearer realm=\"route\"",
            Self::CredentialsMissing | Self::CredentialsInvalid => {
                "Basic realm=\"route\", charset=\"UTF-8\""
            }
            Self::SignatureMissing(_) | Self::SignatureExpired | Self::SignatureInvalid => {
                "Signature realm=\"route\""
            }
        }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let mut answer = Error::Unauthorized(self.refusal()).into_response();
        let challenge = HeaderValue::from_static(self.challenge());
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        answer
    }
}

/// Removes the credentials from the headers, so that neither the script nor the log sees them. A
/// signature is valid only for this body, and stays.
pub(super) fn strip(auth: &RouteAuth, headers: &mut HeaderMap) {
    match auth {
        RouteAuth::Key { header: Some(name), .. } => drop(headers.remove(name)),
        RouteAuth::Key { header: None, .. } => {
            headers.remove(header::AUTHORIZATION);
            headers.remove(credentials::API_KEY);
        }
        RouteAuth::Basic { .. } => drop(headers.remove(header::AUTHORIZATION)),
        RouteAuth::None {} | RouteAuth::Hmac(_) | RouteAuth::Unknown => {}
    }
}

/// Returns the value of a header that occurs exactly once; `None` otherwise.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = list.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        pairs.collect()
    }

    #[test]
    fn what_lets_a_request_in_is_not_for_its_script() {
        let all = || {
            headers(&[
                ("authorization", "Bearer a"),
                ("x-api-key", "a"),
                ("x-gitlab-token", "a"),
                ("accept", "*/*"),
            ])
        };
        let left = |auth: RouteAuth| {
            let mut headers = all();
            strip(&auth, &mut headers);
            let mut names: Vec<_> = headers.keys().map(|name| name.as_str().to_owned()).collect();
            names.sort();
            names
        };
        let secrets = Vec::new;
        assert_eq!(left(RouteAuth::None {}).len(), 4);
        let key = |header: Option<&str>| RouteAuth::Key {
            secrets: secrets(),
            header: header.map(str::to_owned),
        };
        assert_eq!(left(key(None)), ["accept", "x-gitlab-token"]);
        assert_eq!(left(key(Some("X-Gitlab-Token"))), ["accept", "authorization", "x-api-key"]);
        let basic = RouteAuth::Basic { user: "ada".to_owned(), secrets: secrets() };
        assert_eq!(left(basic), ["accept", "x-api-key", "x-gitlab-token"]);
    }

    #[test]
    fn every_refusal_has_a_challenge() {
        for denied in [
            Denied::KeyMissing,
            Denied::CredentialsInvalid,
            Denied::SignatureExpired,
            Denied::SignatureMissing(HeaderName::from_static("x-a")),
        ] {
            let answer = denied.into_response();
            assert_eq!(answer.status().as_u16(), 401);
            assert!(answer.headers().contains_key(header::WWW_AUTHENTICATE));
        }
    }
}
