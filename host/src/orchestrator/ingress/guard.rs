//! Who is let in to a route. Pure: what a request brought, the secrets and the time in;
//! nothing or the reason for a refusal out.
//!
//! ```text
//! claim        what the headers of a signed request claim
//! credentials  a secret, or a user and a secret, in a header
//! schemes      where each sender of webhooks puts its signature, and what it signs
//! signatures   whether a signature is one of ours
//! ```
//!
//! Invariant: without a secret nobody is let in, and an empty one is none.
//! Invariant: comparing takes as long for a wrong secret as for a right one of its length.

mod claim;
pub(super) mod credentials;
mod schemes;
pub(super) mod signatures;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::error::{Error, Refusal};
use crate::store::RouteAuth;
pub(super) use schemes::Scheme;

/// A secret, as it was set.
pub(super) type Secret<'a> = &'a [u8];

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// The header with the secret is not there, or not what it should be.
    KeyMissing,
    /// It is another secret.
    KeyInvalid,
    /// There is no `Authorization: Basic`.
    CredentialsMissing,
    /// It is another user or secret.
    CredentialsInvalid,
    /// This header is not there, more than once there, or cannot be read.
    SignatureMissing(HeaderName),
    /// It was signed too long ago, or too far ahead.
    SignatureExpired,
    /// It was signed with another secret, or something else was signed.
    SignatureInvalid,
}

impl Denied {
    fn refusal(&self) -> Refusal {
        match self {
            Self::KeyMissing => Refusal::new("key_missing", "this route needs a key"),
            Self::KeyInvalid => Refusal::new("key_invalid", "this is not a key of this route"),
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
            Self::SignatureExpired => {
                Refusal::new("signature_expired", "the time of signing is too far from now")
            }
            Self::SignatureInvalid => {
                Refusal::new("signature_invalid", "the signature is not that of this body")
            }
        }
    }

    /// What a caller could show instead (RFC 9110, section 11.6.1). The scheme of
    /// signatures is registered nowhere; a challenge there must be.
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

/// Takes what lets a request in from its headers, so that neither the script nor the log
/// sees it. A signature is good for this body only, and stays.
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

/// The value of a header that must be there once; `None` else.
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
