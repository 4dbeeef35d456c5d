//! `picloud routes update`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use picloud::config::Config;
use picloud::json::Verbatim;
use picloud::manager::api::{Cors, Extensible, RateLimit, Route, RouteAuth};
use picloud::store::Delivery;
use serde::{Deserialize, Serialize};

use super::policy::{Given, Policy};
use super::route_path;
use crate::command::{Failure, Server};

/// The changes to a route.
#[derive(clap::Args)]
pub(in crate::command) struct Update {
    /// The route's id
    id: String,
    /// The id of another script in the app
    #[arg(long, value_name = "ID")]
    script_id: Option<String>,
    #[command(flatten)]
    policy: Policy,
    #[command(flatten)]
    server: Server,
}

/// The current state of a route.
#[derive(Deserialize)]
struct Current {
    #[serde(flatten)]
    route: Route,
    /// The settings that this release does not know.
    #[serde(flatten)]
    newer: BTreeMap<String, Verbatim>,
}

/// The request of [`picloud::manager::api::UpdateRoute`], which replaces all settings. A setting of
/// a newer server is sent back as it is: without it, the server would reset it.
#[derive(Serialize)]
struct Change {
    script_id: String,
    delivery: Extensible<Delivery>,
    auth: Extensible<RouteAuth>,
    rate_limit: Option<Extensible<RateLimit>>,
    concurrency_max: Option<u32>,
    cors: Option<Extensible<Cors>>,
    #[serde(flatten)]
    newer: BTreeMap<String, Verbatim>,
}

impl Change {
    fn of(Current { route, newer }: Current, script_id: Option<String>, given: Given) -> Self {
        let known = |given: Option<_>| given.map(Extensible::Known);
        Self {
            script_id: script_id.unwrap_or(route.script_id),
            delivery: given.delivery.map_or(route.delivery, Extensible::Known),
            auth: given.auth.map_or(route.auth, Extensible::Known),
            rate_limit: given.rate_limit.map_or(route.rate_limit, known),
            concurrency_max: given.concurrency_max.unwrap_or(route.concurrency_max),
            cors: given.cors.map_or(route.cors, |cors| cors.map(Extensible::Known)),
            newer,
        }
    }
}

impl Update {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = route_path(&self.id);
        let current = client.get::<Current>(&path).await?.value;
        let change = Change::of(current, self.script_id, self.policy.given()?);
        client.put::<Route>(&path, &change).await?;
        eprintln!("changed");
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use picloud::manager::api::UpdateRoute;
    use serde_json::{Value, json, to_value};

    use super::*;
    use crate::command::tests::read;

    fn changed(route: &Value, given: Given) -> Value {
        to_value(Change::of(read(route), None, given)).unwrap()
    }

    #[test]
    fn only_the_given_settings_change() {
        let route = json!({
            "id": "7", "script_id": "8", "method": "GET", "host": null, "path": "/", "created_at": 0,
            "delivery": "async", "auth": { "mode": "basic", "user": "ada", "secrets": ["a"] },
            "rate_limit": { "requests": 1, "per_s": 2, "by": "all" }, "concurrency_max": 3,
            "cors": null,
        });
        let given =
            Given { rate_limit: Some(None), concurrency_max: Some(Some(4)), ..Given::default() };
        let expected = json!({
            "script_id": "8", "delivery": "async", "rate_limit": null, "concurrency_max": 4,
            "auth": { "mode": "basic", "user": "ada", "secrets": ["a"] }, "cors": null,
        });
        let sent = changed(&route, given);
        assert_eq!(sent, expected);
        // The server accepts it.
        read::<UpdateRoute>(&sent);
    }

    #[test]
    fn a_setting_of_a_newer_server_stays() {
        let newer = json!({
            "id": "7", "script_id": "8", "method": "GET", "host": null, "path": "/", "created_at": 0,
            "auth": { "mode": "moon" }, "delivery": "later", "timeout_ms": [1.0],
            "cors": { "origins": ["*"], "phase": 1 },
        });
        let expected = json!({
            "script_id": "8", "auth": { "mode": "moon" }, "delivery": "later", "timeout_ms": [1.0],
            "cors": { "origins": ["*"], "phase": 1 }, "rate_limit": null, "concurrency_max": null,
        });
        assert_eq!(changed(&newer, Given::default()), expected);
    }
}
