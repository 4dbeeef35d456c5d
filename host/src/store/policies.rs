//! The requirements of routes and apps for a request before a script runs. Each policy is stored as
//! one JSON text, because it is read and written as a whole.
//!
//! Invariant: a stored policy that this release does not understand refuses every request. A newer
//! release can have written it, or it can be damaged. This closes only that route or app.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::Verbatim;

/// A route's requirements for a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoutePolicy {
    /// The authentication required.
    pub auth: RouteAuth,
    /// The rate limit.
    pub rate_limit: Option<RateLimit>,
    /// The maximum number of concurrent requests on each node.
    pub concurrency_max: Option<u32>,
    /// The origins whose pages can read the responses.
    pub cors: Option<Cors>,
}

/// An app's requirements for every request to its routes and endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngressPolicy {
    /// Whether the stored policy is not understood, which closes the app.
    #[serde(skip)]
    pub is_unknown: bool,
    /// The rate limit.
    pub rate_limit: Option<RateLimit>,
    /// The maximum number of concurrent requests on each node.
    pub concurrency_max: Option<u32>,
    /// The scripts that respond at their own endpoints.
    pub endpoints: Endpoints,
}

/// The scripts of an app that respond at `/x/{app}/{script}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoints {
    /// All scripts except those behind a route with `auth`: their endpoint would bypass it.
    #[default]
    Unguarded,
    /// All scripts, including those behind a route with `auth`.
    Open,
    /// No scripts: the app responds only at its routes.
    Closed,
}

/// A rate limit: a burst of `requests`, then one request every `per_s / requests` seconds. Each
/// node of a cluster counts separately.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Number of requests, 1 to 1,000,000.
    pub requests: u32,
    /// Period in seconds, 1 to 86,400.
    #[serde(default = "one")]
    pub per_s: u32,
    /// How requests are grouped for counting.
    #[serde(default)]
    pub by: RateBy,
}

fn one() -> u32 {
    1
}

/// How requests are grouped for counting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateBy {
    /// All admitted requests together.
    #[default]
    All,
    /// Per client address, including refused requests. IPv6 clients are grouped by /64.
    Address,
}

/// The origins whose pages can read the responses (WHATWG Fetch, "CORS protocol").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Exact origins such as `https://shop.example`, or `*` alone for all origins.
    pub origins: Vec<String>,
    /// Request headers that a page can send besides the safelisted ones; `*` for all.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Response headers that a page can read besides the safelisted ones; `*` for all.
    #[serde(default)]
    pub exposed_headers: Vec<String>,
    /// Whether cookies and other credentials are allowed; not with `*`.
    #[serde(default)]
    pub credentials: bool,
    /// How long a browser caches the permission, 0 to 86,400 seconds.
    #[serde(default)]
    pub max_age_s: u32,
}

/// The authentication of a route. Secrets are names of the app's secrets. Any listed secret is
/// accepted, so that one can be rotated while another still works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum RouteAuth {
    /// No authentication. The braces make serde refuse fields of another mode.
    None {},
    /// A secret, sent as `Authorization: Bearer …` or as `X-API-Key`.
    Key {
        /// The names of 1 to 5 secrets.
        secrets: Vec<String>,
        /// A header that carries the secret instead, such as `x-gitlab-token`.
        #[serde(default)]
        header: Option<String>,
    },
    /// A user name and a secret as the password (RFC 7617).
    Basic {
        /// The user name, without a colon.
        user: String,
        /// The names of 1 to 5 secrets.
        secrets: Vec<String>,
    },
    /// A signature of the body, made with a secret.
    Hmac(HmacAuth),
    /// Refuses every request. A newer release saved the route, and this release does not understand
    /// its policy. The route stays closed until it is saved again. Requests cannot set this mode.
    Unknown,
}

impl Default for RouteAuth {
    fn default() -> Self {
        Self::None {}
    }
}

/// The format of a signature: either `preset` or `custom`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HmacAuth {
    /// The names of 1 to 5 secrets.
    pub secrets: Vec<String>,
    /// The format of a known sender.
    #[serde(default)]
    pub preset: Option<SignaturePreset>,
    /// A custom format.
    #[serde(default, deserialize_with = "crate::json::optional_object")]
    pub custom: Option<CustomSignature>,
    /// The maximum difference between the signed time and the server's, in seconds, 1 to 86,400;
    /// default 300. Only for formats that sign a time.
    #[serde(default)]
    pub tolerance_s: Option<u32>,
}

/// A known sender's signature format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignaturePreset {
    /// Standard Webhooks, and Svix with its own header names.
    StandardWebhooks,
    /// GitHub and senders with the same format: `X-Hub-Signature-256`.
    Github,
    /// Stripe.
    Stripe,
    /// Slack.
    Slack,
    /// Shopify.
    Shopify,
}

/// A custom signature format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomSignature {
    /// The header that contains the signature.
    pub header: String,
    /// The text before the signature in the header.
    #[serde(default)]
    pub prefix: String,
    /// The encoding of the signature.
    #[serde(default)]
    pub encoding: SignatureEncoding,
    /// The hash function.
    #[serde(default)]
    pub algorithm: SignatureAlgorithm,
    /// The header that contains the time of signing, in seconds since 1970.
    #[serde(default)]
    pub timestamp_header: Option<String>,
    /// The signed text: a template with `{body}` once, and `{timestamp}` if a time is signed.
    #[serde(default = "body_alone")]
    pub signed: String,
}

fn body_alone() -> String {
    "{body}".to_owned()
}

/// The encoding of a signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureEncoding {
    /// Hexadecimal, in upper or lower case.
    #[default]
    Hex,
    /// Base64 (RFC 4648, section 4).
    Base64,
}

/// The hash function of an HMAC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureAlgorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

impl RouteAuth {
    /// Whether no authentication is required.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None {}
    }

    /// Returns the names of the secrets that are accepted.
    #[must_use]
    pub fn secrets(&self) -> &[String] {
        match self {
            Self::None {} | Self::Unknown => &[],
            Self::Key { secrets, .. } | Self::Basic { secrets, .. } => secrets,
            Self::Hmac(hmac) => &hmac.secrets,
        }
    }
}

impl From<String> for RoutePolicy {
    fn from(json: String) -> Self {
        let unknown = || Self { auth: RouteAuth::Unknown, ..Self::default() };
        understood(&json).unwrap_or_else(unknown)
    }
}

impl From<String> for IngressPolicy {
    fn from(json: String) -> Self {
        let unknown = || Self { is_unknown: true, endpoints: Endpoints::Closed, ..Self::default() };
        understood(&json).unwrap_or_else(unknown)
    }
}

/// Returns the policy, if every part of the stored JSON is understood.
fn understood<T: DeserializeOwned + Serialize>(json: &str) -> Option<T> {
    let stored = Verbatim::read(json).ok()?;
    let policy: T = serde_json::from_value(stored.clone()).ok()?;
    // serde does not refuse every unknown field, for example next to the tag of a variant without
    // fields. It also reads an array as an object by position.
    let known = serde_json::to_value(&policy).ok()?;
    covers(&known, &stored).then_some(policy)
}

/// Whether `known` has every field that `stored` has.
fn covers(known: &Value, stored: &Value) -> bool {
    match (known, stored) {
        (Value::Object(known), Value::Object(stored)) => stored
            .iter()
            .all(|(name, value)| known.get(name).is_some_and(|known| covers(known, value))),
        (Value::Array(known), Value::Array(stored)) => {
            known.len() == stored.len() && known.iter().zip(stored).all(|(k, s)| covers(k, s))
        }
        (known, stored) => known == stored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_asks_for_nothing() {
        let policy = RoutePolicy::from("{}".to_owned());
        assert_eq!(policy, RoutePolicy::default());
        assert!(policy.auth.is_none() && policy.auth.secrets().is_empty());
        let ingress = IngressPolicy::from("{}".to_owned());
        assert_eq!(ingress, IngressPolicy::default());
    }

    #[test]
    fn what_is_not_understood_lets_nobody_in() {
        for wrong in [
            "",
            "{",
            "[]",
            "null",
            r#"{"later":1}"#,
            r#"{"auth":{"mode":"later"}}"#,
            r#"{"auth":{"mode":"unknown"}}"#,
            r#"{"auth":{"mode":"key"}}"#,
            r#"{"auth":{"mode":"none","later":1}}"#,
            r#"{"auth":{"mode":"key","secrets":["a"],"later":1}}"#,
            r#"{"auth":{"mode":"hmac","secrets":["a"],"preset":"later"}}"#,
            r#"{"rate_limit":{"requests":1,"later":1}}"#,
            r#"{"rate_limit":{"requests":-1}}"#,
            r#"{"cors":{"origins":[],"later":1}}"#,
            r#"{"rate_limit":[1,1,"all"]}"#,
            r#"{"auth":["key",["a"]]}"#,
        ] {
            let policy = RoutePolicy::from(wrong.to_owned());
            assert_eq!(policy.auth, RouteAuth::Unknown, "{wrong}");
            assert!(!policy.auth.is_none(), "{wrong}");
        }
        for wrong in ["", "null", r#"{"later":1}"#, r#"{"endpoints":"later"}"#] {
            let policy = IngressPolicy::from(wrong.to_owned());
            assert!(policy.is_unknown && policy.endpoints == Endpoints::Closed, "{wrong}");
        }
    }

    #[test]
    fn a_policy_is_read_as_it_was_written() {
        let hmac = HmacAuth {
            secrets: vec!["new".to_owned(), "old".to_owned()],
            preset: Some(SignaturePreset::StandardWebhooks),
            custom: None,
            tolerance_s: Some(60),
        };
        let policy = RoutePolicy {
            auth: RouteAuth::Hmac(hmac),
            rate_limit: Some(RateLimit { requests: 5, per_s: 60, by: RateBy::Address }),
            concurrency_max: Some(2),
            cors: Some(Cors { origins: vec!["*".to_owned()], ..Cors::default() }),
        };
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(RoutePolicy::from(json), policy);
    }
}
