//! What routes and apps ask of a request before a script runs. Stored as one JSON
//! each, because it is read and written as a whole.
//!
//! Invariant: a stored policy that this release does not understand, because a newer one has
//! written it or it is damaged, is read as one that lets nobody in. It closes that route or
//! app, and nothing else fails.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::Verbatim;
use utoipa::ToSchema;

/// What a route asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoutePolicy {
    /// Who is let in.
    pub auth: RouteAuth,
    /// How often.
    pub rate_limit: Option<RateLimit>,
    /// How many requests are run at once, on each node.
    pub concurrency_max: Option<u32>,
    /// Pages of which other origins may read the answers.
    pub cors: Option<Cors>,
}

/// What an app asks of every request to its routes and endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngressPolicy {
    /// Whether the stored policy is not understood. The app is closed then.
    #[serde(skip)]
    pub is_unknown: bool,
    /// How often.
    pub rate_limit: Option<RateLimit>,
    /// How many requests are run at once, on each node.
    pub concurrency_max: Option<u32>,
    /// Which scripts answer at their own endpoints.
    pub endpoints: Endpoints,
}

/// Which scripts of an app answer at `/x/{app}/{script}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Endpoints {
    /// All but those that a route with `auth` leads to: else the endpoint would be a way
    /// around it.
    #[default]
    Unguarded,
    /// All, also those that a route with `auth` leads to.
    Open,
    /// None: the app is its routes.
    Closed,
}

/// So many requests at once, then one each `per_s / requests` seconds. Counted on each
/// node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many, 1 to 1,000,000.
    #[schema(example = 100)]
    pub requests: u32,
    /// In how many seconds, 1 to 86,400.
    #[serde(default = "one")]
    #[schema(example = 1)]
    pub per_s: u32,
    /// Whose requests are counted together.
    #[serde(default)]
    pub by: RateBy,
}

fn one() -> u32 {
    1
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateBy {
    /// Everybody's that were let in.
    #[default]
    All,
    /// Each caller's own, also those that were refused. An IPv6 caller is its /64.
    Address,
}

/// Pages of which other origins may read the answers (WHATWG Fetch, "CORS protocol").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins like `https://shop.example`, exactly; or `*` alone for all.
    pub origins: Vec<String>,
    /// Request headers that a page may send beside the safe ones; `*` for all.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Response headers that a page may read beside the safe ones; `*` for all.
    #[serde(default)]
    pub exposed_headers: Vec<String>,
    /// Whether cookies and other credentials come along; not with `*`.
    #[serde(default)]
    pub credentials: bool,
    /// For how long a browser keeps the permission, 0 to 86,400 seconds.
    #[serde(default)]
    pub max_age_s: u32,
}

/// Who is let in. Secrets are named: they are the app's, any of them will do, so that
/// one can be exchanged while the other still works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum RouteAuth {
    /// Everybody. With braces, so that serde refuses the fields of another mode beside it.
    None {},
    /// Who sends a secret: as `Authorization: Bearer …` or as `X-API-Key`.
    Key {
        /// The names of 1 to 5 secrets.
        secrets: Vec<String>,
        /// A header that brings it instead, such as `x-gitlab-token`.
        #[serde(default)]
        header: Option<String>,
    },
    /// Who sends a user's name and a secret as a password (RFC 7617).
    Basic {
        /// The user's name, without a colon.
        user: String,
        /// The names of 1 to 5 secrets.
        secrets: Vec<String>,
    },
    /// Who has signed the body with a secret.
    Hmac(HmacAuth),
    /// Nobody: a newer release has saved the route, and this one does not understand what it
    /// asks. The route is closed until it is saved again. It cannot be asked for.
    Unknown,
}

impl Default for RouteAuth {
    fn default() -> Self {
        Self::None {}
    }
}

/// How a signature is made: `preset` or `custom`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HmacAuth {
    /// The names of 1 to 5 secrets.
    pub secrets: Vec<String>,
    /// As a known sender does it.
    #[serde(default)]
    pub preset: Option<SignaturePreset>,
    /// As described.
    #[serde(default, deserialize_with = "crate::json::optional_object")]
    pub custom: Option<CustomSignature>,
    /// By how many seconds the signed time may differ from ours, 1 to 86,400; 300 when
    /// left out. Only where a time is signed.
    #[serde(default)]
    pub tolerance_s: Option<u32>,
}

/// A sender whose signatures are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignaturePreset {
    /// Standard Webhooks, and Svix under its own names of headers.
    StandardWebhooks,
    /// GitHub, and whoever signs as it does: `X-Hub-Signature-256`.
    Github,
    /// Stripe.
    Stripe,
    /// Slack.
    Slack,
    /// Shopify.
    Shopify,
}

/// A signature of another sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomSignature {
    /// The header that brings it.
    #[schema(example = "x-signature")]
    pub header: String,
    /// What stands before it there.
    #[serde(default)]
    #[schema(example = "sha256=")]
    pub prefix: String,
    /// How it is written.
    #[serde(default)]
    pub encoding: SignatureEncoding,
    /// The hash function.
    #[serde(default)]
    pub algorithm: SignatureAlgorithm,
    /// The header that brings the time of signing, in seconds since 1970.
    #[serde(default)]
    pub timestamp_header: Option<String>,
    /// What is signed: a text with `{body}` once, and `{timestamp}` if there is a time.
    #[serde(default = "body_alone")]
    #[schema(example = "{timestamp}.{body}")]
    pub signed: String,
}

fn body_alone() -> String {
    "{body}".to_owned()
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignatureEncoding {
    /// Hexadecimal, in either case.
    #[default]
    Hex,
    /// RFC 4648, section 4.
    Base64,
}

/// The hash function of an HMAC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignatureAlgorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

impl RouteAuth {
    /// Whether anybody is let in.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None {}
    }

    /// The names of the secrets that it takes.
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

/// The policy, if every part of the stored one is understood.
fn understood<T: DeserializeOwned + Serialize>(json: &str) -> Option<T> {
    let stored = Verbatim::read(json).ok()?;
    let policy: T = serde_json::from_value(stored.clone()).ok()?;
    // serde does not refuse every unknown field, for example beside the tag of a variant
    // without fields, and reads an array as an object by position.
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
