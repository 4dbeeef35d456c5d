//! What a route asks of its requests, as options of the command line.

use serde_json::{Value, json};

use crate::command::Failure;

/// What to ask.
#[derive(Default, clap::Args)]
#[command(next_help_heading = "Before the script runs")]
pub(super) struct Policy {
    /// How a request is served
    #[arg(long, value_name = "sync|durable|async")]
    delivery: Option<String>,
    /// Who is let in: none, key, basic, or who signs as standard_webhooks, github, stripe,
    /// slack or shopify do
    #[arg(long, value_name = "MODE")]
    auth: Option<String>,
    /// The name of a secret of the app; more than one while it is exchanged
    #[arg(long = "secret", value_name = "NAME", requires = "auth")]
    secrets: Vec<String>,
    /// The user, with --auth basic
    #[arg(long, requires = "auth")]
    user: Option<String>,
    /// The header that brings the key, with --auth key, such as x-gitlab-token
    #[arg(long, value_name = "NAME", requires = "auth")]
    key_header: Option<String>,
    /// How often, such as 100/60 for a hundred in a minute, or none
    #[arg(long, value_name = "REQUESTS/SECONDS")]
    rate: Option<String>,
    /// Whose requests the rate counts together
    #[arg(long, value_name = "all|address", requires = "rate")]
    rate_by: Option<String>,
    /// How many requests are run at once on each node, or none
    #[arg(long, value_name = "N")]
    at_once: Option<String>,
    /// An origin whose pages may read the answers, or '*', or none; more than one
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    cors_origins: Vec<String>,
    /// A header that those pages may send; more than one
    #[arg(long = "cors-header", value_name = "NAME", requires = "cors_origins")]
    cors_headers: Vec<String>,
    /// Whether cookies come along
    #[arg(long, requires = "cors_origins")]
    cors_credentials: bool,
}

const NONE: &str = "none";

impl Policy {
    /// Puts what was asked for into a route; the server checks it.
    pub(super) fn put_into(self, route: &mut Value) -> Result<(), Failure> {
        if let Some(delivery) = &self.delivery {
            route["delivery"] = json!(delivery);
        }
        if let Some(mode) = &self.auth {
            route["auth"] = self.auth(mode)?;
        }
        if let Some(rate) = &self.rate {
            route["rate_limit"] = limit(rate, self.rate_by.as_deref())?;
        }
        if let Some(most) = &self.at_once {
            route["concurrency_max"] = if most == NONE {
                Value::Null
            } else {
                json!(number(most, "--at-once is a number, or none")?)
            };
        }
        if !self.cors_origins.is_empty() {
            let is_none = self.cors_origins == [NONE];
            route["cors"] = if is_none { Value::Null } else { self.cors() };
        }
        Ok(())
    }

    fn auth(&self, mode: &str) -> Result<Value, Failure> {
        let unfit = |option: &str| Failure(format!("{option} does not go with --auth {mode}"));
        if self.user.is_some() && mode != "basic" {
            return Err(unfit("--user"));
        }
        if self.key_header.is_some() && mode != "key" {
            return Err(unfit("--key-header"));
        }
        let secrets = &self.secrets;
        Ok(match mode {
            NONE if !secrets.is_empty() => return Err(unfit("--secret")),
            NONE => json!({ "mode": NONE }),
            "key" => json!({ "mode": mode, "secrets": secrets, "header": self.key_header }),
            "basic" => {
                let user = self.user.as_ref();
                let user = user.ok_or_else(|| Failure::new("--auth basic needs --user"))?;
                json!({ "mode": mode, "secrets": secrets, "user": user })
            }
            preset => json!({ "mode": "hmac", "secrets": secrets, "preset": preset }),
        })
    }

    fn cors(&self) -> Value {
        json!({
            "origins": self.cors_origins,
            "headers": self.cors_headers,
            "credentials": self.cors_credentials,
        })
    }
}

fn limit(rate: &str, by: Option<&str>) -> Result<Value, Failure> {
    if rate == NONE {
        return Ok(Value::Null);
    }
    let wrong = "--rate is REQUESTS/SECONDS like 100/60, or none";
    let (requests, per_s) = rate.split_once('/').ok_or_else(|| Failure::new(wrong))?;
    let (requests, per_s) = (number(requests, wrong)?, number(per_s, wrong)?);
    Ok(json!({ "requests": requests, "per_s": per_s, "by": by.unwrap_or("all") }))
}

fn number(text: &str, wrong: &str) -> Result<u32, Failure> {
    text.parse().map_err(|_| Failure::new(wrong))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(policy: Policy) -> Result<Value, String> {
        let mut route = json!({});
        policy.put_into(&mut route).map_err(|Failure(message)| message)?;
        Ok(route)
    }

    #[test]
    fn what_is_not_named_stays() {
        assert_eq!(put(Policy::default()), Ok(json!({})));
        let none = Policy {
            auth: Some(NONE.to_owned()),
            rate: Some(NONE.to_owned()),
            at_once: Some(NONE.to_owned()),
            cors_origins: vec![NONE.to_owned()],
            ..Policy::default()
        };
        let expected = json!({
            "auth": {"mode": "none"}, "rate_limit": null, "concurrency_max": null, "cors": null,
        });
        assert_eq!(put(none), Ok(expected));
    }

    #[test]
    fn a_sender_that_is_known_is_a_preset() {
        let auth = |mode: &str, user: Option<&str>| {
            put(Policy {
                auth: Some(mode.to_owned()),
                secrets: vec!["a".to_owned()],
                user: user.map(str::to_owned),
                ..Policy::default()
            })
        };
        let hmac = json!({"mode": "hmac", "secrets": ["a"], "preset": "github"});
        assert_eq!(auth("github", None), Ok(json!({ "auth": hmac })));
        let basic = json!({"mode": "basic", "secrets": ["a"], "user": "ada"});
        assert_eq!(auth("basic", Some("ada")), Ok(json!({ "auth": basic })));
        for (mode, user) in [("basic", None), ("none", None), ("key", Some("ada"))] {
            assert!(auth(mode, user).is_err(), "{mode}");
        }
    }

    #[test]
    fn a_rate_is_so_many_in_so_many_seconds() {
        let rate = json!({"requests": 100, "per_s": 60, "by": "address"});
        assert_eq!(limit("100/60", Some("address")).ok(), Some(rate));
        for wrong in ["100", "100/", "/60", "a/b", "-1/1"] {
            assert!(limit(wrong, None).is_err(), "{wrong}");
        }
    }
}
