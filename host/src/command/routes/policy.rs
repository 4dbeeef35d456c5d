//! The command-line options of a route's policy.

use picloud::manager::api::{Cors, HmacAuth, RateBy, RateLimit, RouteAuth};
use picloud::store::Delivery;

use crate::command::Failure;
use crate::command::names::named;

/// The policy options.
#[derive(Default, clap::Args)]
#[command(next_help_heading = "Before the script runs")]
pub(super) struct Policy {
    /// How requests are delivered
    #[arg(long, value_name = "sync|durable|async")]
    delivery: Option<String>,
    /// How callers authenticate: none, key or basic, or by signature: standard_webhooks, github,
    /// stripe, slack or shopify
    #[arg(long, value_name = "MODE")]
    auth: Option<String>,
    /// The name of a secret of the app; repeat it while the secret is rotated
    #[arg(long = "secret", value_name = "NAME", requires = "auth")]
    secrets: Vec<String>,
    /// The user name, with --auth basic
    #[arg(long, requires = "auth")]
    user: Option<String>,
    /// The header that carries the key, with --auth key, such as x-gitlab-token
    #[arg(long, value_name = "NAME", requires = "auth")]
    key_header: Option<String>,
    /// The rate limit, such as 100/60 for 100 requests in a minute, or none
    #[arg(long, value_name = "REQUESTS/SECONDS")]
    rate: Option<String>,
    /// Whether the rate limit counts all callers together, or each address
    #[arg(long, value_name = "all|address", requires = "rate")]
    rate_by: Option<String>,
    /// The most requests run at the same time on each node, or none
    #[arg(long, value_name = "N")]
    at_once: Option<String>,
    /// An origin whose pages can read responses, or '*', or none; can be repeated
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    cors_origins: Vec<String>,
    /// A header that those pages can send; can be repeated
    #[arg(long = "cors-header", value_name = "NAME", requires = "cors_origins")]
    cors_headers: Vec<String>,
    /// Allow those pages to send cookies
    #[arg(long, requires = "cors_origins")]
    cors_credentials: bool,
}

const NONE: &str = "none";

/// The given settings. The inner `None` removes a limit, or the origins.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Given {
    pub(super) delivery: Option<Delivery>,
    pub(super) auth: Option<RouteAuth>,
    pub(super) rate_limit: Option<Option<RateLimit>>,
    pub(super) concurrency_max: Option<Option<u32>>,
    pub(super) cors: Option<Option<Cors>>,
}

impl Policy {
    /// Returns the given settings. The server validates them.
    pub(super) fn given(self) -> Result<Given, Failure> {
        let delivery = self.delivery.as_deref().map(|mode| named("--delivery", mode));
        let auth = self.auth.as_deref().map(|mode| self.auth(mode));
        let rate = self.rate.as_deref().map(|rate| limit(rate, self.rate_by.as_deref()));
        let at_once = self.at_once.as_deref().map(at_once);
        Ok(Given {
            delivery: delivery.transpose()?,
            auth: auth.transpose()?,
            rate_limit: rate.transpose()?,
            concurrency_max: at_once.transpose()?,
            cors: self.cors(),
        })
    }

    fn auth(&self, mode: &str) -> Result<RouteAuth, Failure> {
        let unfit = |option: &str| Failure(format!("{option} cannot be used with --auth {mode}"));
        if self.user.is_some() && mode != "basic" {
            return Err(unfit("--user"));
        }
        if self.key_header.is_some() && mode != "key" {
            return Err(unfit("--key-header"));
        }
        let secrets = self.secrets.clone();
        Ok(match mode {
            NONE if !secrets.is_empty() => return Err(unfit("--secret")),
            NONE => RouteAuth::None {},
            "key" => RouteAuth::Key { secrets, header: self.key_header.clone() },
            "basic" => {
                let user = self.user.clone();
                let user = user.ok_or_else(|| Failure::new("--auth basic needs --user"))?;
                RouteAuth::Basic { user, secrets }
            }
            preset => RouteAuth::Hmac(HmacAuth {
                secrets,
                preset: Some(named("--auth", preset)?),
                custom: None,
                tolerance_s: None,
            }),
        })
    }

    fn cors(self) -> Option<Option<Cors>> {
        match self.cors_origins.as_slice() {
            [] => None,
            [none] if none == NONE => Some(None),
            _ => Some(Some(Cors {
                origins: self.cors_origins,
                headers: self.cors_headers,
                credentials: self.cors_credentials,
                ..Cors::default()
            })),
        }
    }
}

fn limit(rate: &str, by: Option<&str>) -> Result<Option<RateLimit>, Failure> {
    if rate == NONE {
        return Ok(None);
    }
    let wrong = "--rate must be REQUESTS/SECONDS like 100/60, or none";
    let (requests, per_s) = rate.split_once('/').ok_or_else(|| Failure::new(wrong))?;
    let (requests, per_s) = (number(requests, wrong)?, number(per_s, wrong)?);
    let by = by.map_or(Ok(RateBy::All), |by| named("--rate-by", by))?;
    Ok(Some(RateLimit { requests, per_s, by }))
}

fn at_once(most: &str) -> Result<Option<u32>, Failure> {
    if most == NONE {
        return Ok(None);
    }
    number(most, "--at-once must be a number or none").map(Some)
}

fn number(text: &str, wrong: &str) -> Result<u32, Failure> {
    text.parse().map_err(|_| Failure::new(wrong))
}

#[cfg(test)]
mod tests {
    use picloud::manager::api::SignaturePreset;

    use super::*;

    fn given(policy: Policy) -> Result<Given, String> {
        policy.given().map_err(|Failure(message)| message)
    }

    #[test]
    fn what_is_not_named_stays() {
        assert_eq!(given(Policy::default()), Ok(Given::default()));
        let none = Policy {
            auth: Some(NONE.to_owned()),
            rate: Some(NONE.to_owned()),
            at_once: Some(NONE.to_owned()),
            cors_origins: vec![NONE.to_owned()],
            ..Policy::default()
        };
        let expected = Given {
            delivery: None,
            auth: Some(RouteAuth::None {}),
            rate_limit: Some(None),
            concurrency_max: Some(None),
            cors: Some(None),
        };
        assert_eq!(given(none), Ok(expected));
    }

    #[test]
    fn a_sender_that_is_known_is_a_preset() {
        let auth = |mode: &str, user: Option<&str>| {
            let policy = Policy {
                auth: Some(mode.to_owned()),
                secrets: vec!["a".to_owned()],
                user: user.map(str::to_owned),
                ..Policy::default()
            };
            given(policy).map(|given| given.auth)
        };
        let secrets = || vec!["a".to_owned()];
        let hmac = HmacAuth {
            secrets: secrets(),
            preset: Some(SignaturePreset::Github),
            custom: None,
            tolerance_s: None,
        };
        assert_eq!(auth("github", None), Ok(Some(RouteAuth::Hmac(hmac))));
        let basic = RouteAuth::Basic { user: "ada".to_owned(), secrets: secrets() };
        assert_eq!(auth("basic", Some("ada")), Ok(Some(basic)));
        for (mode, user) in [("basic", None), ("none", None), ("key", Some("ada")), ("moon", None)]
        {
            assert!(auth(mode, user).is_err(), "{mode}");
        }
    }

    #[test]
    fn a_rate_is_so_many_in_so_many_seconds() {
        let rate = RateLimit { requests: 100, per_s: 60, by: RateBy::Address };
        assert_eq!(limit("100/60", Some("address")).ok(), Some(Some(rate)));
        for wrong in ["100", "100/", "/60", "a/b", "-1/1"] {
            assert!(limit(wrong, None).is_err(), "{wrong}");
        }
        assert!(limit("1/1", Some("moon")).is_err());
    }
}
