//! Policies as the API shows and takes them. The stored types have the same form today, and can
//! change apart from these.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store;

/// The scripts of an app that respond at `/x/{app}/{script}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Number of requests, 1 to 1,000,000.
    #[schema(example = 100)]
    pub requests: u32,
    /// Period in seconds, 1 to 86,400.
    #[serde(default = "one")]
    #[schema(example = 1)]
    pub per_s: u32,
    /// How requests are grouped for counting.
    #[serde(default)]
    pub by: RateBy,
}

fn one() -> u32 {
    1
}

/// How requests are grouped for counting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateBy {
    /// All admitted requests together.
    #[default]
    All,
    /// Per client address, including refused requests. IPv6 clients are grouped by /64.
    Address,
}

/// The origins whose pages can read the responses (WHATWG Fetch, "CORS protocol").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomSignature {
    /// The header that contains the signature.
    #[schema(example = "x-signature")]
    pub header: String,
    /// The text before the signature in the header.
    #[serde(default)]
    #[schema(example = "sha256=")]
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
    #[schema(example = "{timestamp}.{body}")]
    pub signed: String,
}

fn body_alone() -> String {
    "{body}".to_owned()
}

/// The encoding of a signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignatureEncoding {
    /// Hexadecimal, in upper or lower case.
    #[default]
    Hex,
    /// Base64 (RFC 4648, section 4).
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

/// Converts a struct to the stored one and back.
macro_rules! mirrors {
    ($type:ident { $($field:ident),+ }) => {
        impl From<$type> for store::$type {
            fn from(shape: $type) -> Self {
                Self { $($field: shape.$field),+ }
            }
        }

        impl From<store::$type> for $type {
            fn from(stored: store::$type) -> Self {
                Self { $($field: stored.$field),+ }
            }
        }
    };
}

/// Converts an enum without fields to the stored one and back.
macro_rules! mirrors_names {
    ($type:ident { $($variant:ident),+ }) => {
        impl From<$type> for store::$type {
            fn from(shape: $type) -> Self {
                match shape {
                    $($type::$variant => Self::$variant),+
                }
            }
        }

        impl From<store::$type> for $type {
            fn from(stored: store::$type) -> Self {
                match stored {
                    $(store::$type::$variant => Self::$variant),+
                }
            }
        }
    };
}

mirrors! { Cors { origins, headers, exposed_headers, credentials, max_age_s } }
mirrors_names! { Endpoints { Unguarded, Open, Closed } }
mirrors_names! { RateBy { All, Address } }
mirrors_names! { SignaturePreset { StandardWebhooks, Github, Stripe, Slack, Shopify } }
mirrors_names! { SignatureEncoding { Hex, Base64 } }
mirrors_names! { SignatureAlgorithm { Sha256, Sha512 } }

/// Writes both conversions of a type whose parts are converted too.
macro_rules! both_ways {
    ($type:ident, $from:ident => $made:expr) => {
        impl From<$type> for store::$type {
            fn from($from: $type) -> Self {
                $made
            }
        }

        impl From<store::$type> for $type {
            fn from($from: store::$type) -> Self {
                $made
            }
        }
    };
}

both_ways! { RateLimit, from => Self {
    requests: from.requests,
    per_s: from.per_s,
    by: from.by.into(),
} }
both_ways! { CustomSignature, from => Self {
    header: from.header,
    prefix: from.prefix,
    encoding: from.encoding.into(),
    algorithm: from.algorithm.into(),
    timestamp_header: from.timestamp_header,
    signed: from.signed,
} }
both_ways! { HmacAuth, from => Self {
    secrets: from.secrets,
    preset: from.preset.map(Into::into),
    custom: from.custom.map(Into::into),
    tolerance_s: from.tolerance_s,
} }

impl From<RouteAuth> for store::RouteAuth {
    fn from(shape: RouteAuth) -> Self {
        match shape {
            RouteAuth::None {} => Self::None {},
            RouteAuth::Key { secrets, header } => Self::Key { secrets, header },
            RouteAuth::Basic { user, secrets } => Self::Basic { user, secrets },
            RouteAuth::Hmac(hmac) => Self::Hmac(hmac.into()),
            RouteAuth::Unknown => Self::Unknown,
        }
    }
}

impl From<store::RouteAuth> for RouteAuth {
    fn from(stored: store::RouteAuth) -> Self {
        match stored {
            store::RouteAuth::None {} => Self::None {},
            store::RouteAuth::Key { secrets, header } => Self::Key { secrets, header },
            store::RouteAuth::Basic { user, secrets } => Self::Basic { user, secrets },
            store::RouteAuth::Hmac(hmac) => Self::Hmac(hmac.into()),
            store::RouteAuth::Unknown => Self::Unknown,
        }
    }
}
