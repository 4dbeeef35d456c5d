//! Which script answers a request. Pure: definitions in, target out.
//!
//! ```text
//! /x/{app}/{script}   every script's own endpoint, every method
//! /x/{app}/…          the app's routes
//! {domain}/…          the routes on a domain that the app has claimed
//! ```
//!
//! A static segment goes before a parameter, a parameter before a rest; a method
//! before `*`, a route before an endpoint.

pub(crate) mod glob;
mod path_tree;
mod triggers;

use std::collections::HashMap;
use std::sync::Arc;

use path_tree::PathTree;
use percent_encoding::percent_decode_str;
pub(crate) use triggers::Triggers;

use crate::executor::PrivateHosts;
use crate::limits::Budget;
use crate::store::{AppId, Definitions, Delivery, ScriptDefinition, ScriptId, ScriptLimits};

/// The method that stands for every method.
const ANY: &str = "*";

/// A script that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The app.
    pub app_id: AppId,
    /// The app's name.
    pub app: String,
    /// The script.
    pub script_id: ScriptId,
    /// The script's name.
    pub script: String,
    /// The version that runs.
    pub version: i64,
    /// That version's source, by its SHA-256 in hexadecimal.
    pub source_sha256: String,
    /// What the script asked for.
    pub budget: Budget,
    /// What is open to the app's requests.
    pub private_hosts: Arc<PrivateHosts>,
}

impl From<ScriptDefinition> for Target {
    fn from(script: ScriptDefinition) -> Self {
        Self {
            app_id: script.app_id,
            app: script.app_name,
            script_id: script.script_id,
            script: script.script_name,
            version: script.version,
            source_sha256: script.source_sha256,
            budget: Budget::from(&script.limits),
            private_hosts: Arc::new(PrivateHosts::of_text(&script.private_hosts)),
        }
    }
}

impl From<&ScriptLimits> for Budget {
    fn from(limits: &ScriptLimits) -> Self {
        let natural = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok());
        Self {
            fuel_max: natural(limits.fuel_max),
            memory_bytes_max: natural(limits.memory_bytes_max),
            wall_ms_max: natural(limits.wall_ms_max),
        }
    }
}

/// What a request leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// This script, with the path's parameters, decoded, and how it is to be run.
    Script(Arc<Target>, Vec<(String, String)>, Delivery),
    /// The path is known, with these methods.
    OtherMethods(Vec<String>),
    /// Nothing.
    Nothing,
}

/// Everything that can be asked for.
#[derive(Default)]
pub struct Table {
    apps: HashMap<String, PathTree<Methods>>,
    domains: HashMap<String, PathTree<Methods>>,
    scripts: HashMap<ScriptId, Arc<Target>>,
    names: HashMap<(String, String), Arc<Target>>,
    triggers: Triggers,
}

/// What one path leads to, by method.
type Methods = Vec<Candidate>;

struct Candidate {
    method: String,
    parameters: Vec<String>,
    target: Arc<Target>,
    delivery: Delivery,
}

impl Table {
    /// The table of these definitions.
    #[must_use]
    pub fn of(definitions: Definitions) -> Self {
        let mut table = Self::default();
        for script in definitions.scripts {
            let target = Arc::new(Target::from(script));
            table.scripts.insert(target.script_id.clone(), target);
        }
        // A claimed domain is the app's, also while it has no route there.
        for domain in definitions.domains {
            table.domains.insert(domain.host, PathTree::default());
        }
        for route in definitions.routes {
            let Some(target) = table.scripts.get(&route.script_id) else {
                continue;
            };
            let place = if route.host.is_empty() {
                table.apps.entry(route.app_name).or_default()
            } else {
                table.domains.entry(route.host).or_default()
            };
            let target = Arc::clone(target);
            let parameters = parameters(&route.path);
            let (path, method, delivery) = (route.path, route.method, route.delivery);
            place.entry(&path).push(Candidate { method, parameters, target, delivery });
        }
        // After the routes, so that a route goes before an endpoint.
        for target in table.scripts.values() {
            let app = table.apps.entry(target.app.clone()).or_default();
            app.entry(&format!("/{}", target.script)).push(Candidate {
                method: ANY.to_owned(),
                parameters: Vec::new(),
                target: Arc::clone(target),
                delivery: Delivery::Sync,
            });
            let name = (target.app.clone(), target.script.clone());
            table.names.insert(name, Arc::clone(target));
        }
        table.triggers = Triggers::of(definitions.triggers);
        table
    }

    /// What answers `method path` under `/x/{app}`.
    #[must_use]
    pub fn find_in_app(&self, app: &str, method: &str, path: &str) -> Found {
        self.apps.get(app).map_or(Found::Nothing, |paths| find(paths, method, path))
    }

    /// What answers `method path` on a domain, given in lower case.
    #[must_use]
    pub fn find_on_domain(&self, host: &str, method: &str, path: &str) -> Found {
        self.domains.get(host).map_or(Found::Nothing, |paths| find(paths, method, path))
    }

    /// Whether an app has claimed this domain, given in lower case.
    #[must_use]
    pub fn has_domain(&self, host: &str) -> bool {
        self.domains.contains_key(host)
    }

    /// A script by its id.
    #[must_use]
    pub fn find_script(&self, id: &ScriptId) -> Option<Arc<Target>> {
        self.scripts.get(id).cloned()
    }

    /// A script by its app's name and its own.
    #[must_use]
    pub fn find_script_by_name(&self, app: &str, script: &str) -> Option<Arc<Target>> {
        self.names.get(&(app.to_owned(), script.to_owned())).cloned()
    }

    /// What fires on events.
    pub(crate) fn triggers(&self) -> &Triggers {
        &self.triggers
    }
}

fn find(paths: &PathTree<Methods>, method: &str, path: &str) -> Found {
    let Some((candidates, values)) = paths.find(path) else {
        return Found::Nothing;
    };
    let with = |wanted| candidates.iter().find(|candidate| candidate.method == wanted);
    // RFC 9110, section 9.3.2: a HEAD is a GET whose body is not sent.
    let head = || (method == "HEAD").then(|| with("GET")).flatten();
    let Some(candidate) = with(method).or_else(head).or_else(|| with(ANY)) else {
        let methods = candidates.iter().map(|candidate| candidate.method.clone());
        return Found::OtherMethods(methods.collect());
    };
    let values = values.into_iter().map(decoded);
    let parameters = candidate.parameters.iter().cloned().zip(values).collect();
    Found::Script(Arc::clone(&candidate.target), parameters, candidate.delivery)
}

/// The names of a pattern's parameters, in order.
fn parameters(pattern: &str) -> Vec<String> {
    let segments = pattern.split('/');
    let names = segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| name.strip_prefix('*').unwrap_or(name).to_owned()).collect()
}

/// A parameter's text. What is not UTF-8 shows as replacement characters; the
/// exact bytes are in `ctx.request.path`.
fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RouteDefinition;
    use uuid::Uuid;

    fn script(number: u128, name: &str) -> ScriptDefinition {
        ScriptDefinition {
            app_id: AppId::from(Uuid::from_u128(1)),
            app_name: "shop".to_owned(),
            script_id: ScriptId::from(Uuid::from_u128(number)),
            script_name: name.to_owned(),
            version: 1,
            source_sha256: String::new(),
            limits: ScriptLimits { fuel_max: None, memory_bytes_max: None, wall_ms_max: None },
            private_hosts: String::new(),
        }
    }

    fn route(
        number: u128,
        script: &ScriptDefinition,
        method: &str,
        host: &str,
        path: &str,
    ) -> RouteDefinition {
        RouteDefinition {
            id: Uuid::from_u128(number).into(),
            app_id: script.app_id.clone(),
            app_name: script.app_name.clone(),
            script_id: script.script_id.clone(),
            script_name: script.script_name.clone(),
            method: method.to_owned(),
            host: host.to_owned(),
            path: path.to_owned(),
            shape: String::new(),
            delivery: Delivery::Sync,
        }
    }

    fn table() -> Table {
        let (list, show, all) = (script(10, "list"), script(11, "show"), script(12, "all"));
        let routes = vec![
            route(20, &list, "GET", "", "/items"),
            route(21, &show, "GET", "", "/items/{id}"),
            route(22, &all, "POST", "", "/items/{other}"),
            route(23, &list, "GET", "", "/items/new"),
            route(24, &all, "*", "", "/files/{*path}"),
            route(25, &show, "GET", "shop.example", "/{id}"),
        ];
        let scripts = vec![list, show, all];
        Table::of(Definitions {
            revision: 0,
            scripts,
            routes,
            domains: Vec::new(),
            triggers: Vec::new(),
        })
    }

    fn in_app(method: &str, path: &str) -> (String, Vec<(String, String)>) {
        match table().find_in_app("shop", method, path) {
            Found::Script(target, parameters, _) => (target.script.clone(), parameters),
            other => (format!("{other:?}"), Vec::new()),
        }
    }

    fn pair(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn a_script_answers_at_its_own_endpoint_to_every_method() {
        assert_eq!(in_app("GET", "/show").0, "show");
        assert_eq!(in_app("PROPFIND", "/show").0, "show");
        assert_eq!(table().find_in_app("other", "GET", "/show"), Found::Nothing);
        assert_eq!(table().find_in_app("shop", "GET", "/show/"), Found::Nothing);
    }

    #[test]
    fn parameters_have_the_name_of_their_own_route_and_are_decoded() {
        assert_eq!(in_app("GET", "/items/a%20b"), ("show".to_owned(), pair("id", "a b")));
        assert_eq!(in_app("POST", "/items/7"), ("all".to_owned(), pair("other", "7")));
        assert_eq!(in_app("PUT", "/files/a/b"), ("all".to_owned(), pair("path", "a/b")));
    }

    #[test]
    fn what_is_static_goes_before_what_is_not() {
        assert_eq!(in_app("GET", "/items/new").0, "list");
    }

    #[test]
    fn head_is_answered_by_get() {
        assert_eq!(in_app("HEAD", "/items").0, "list");
    }

    #[test]
    fn a_known_path_names_its_methods() {
        let found = table().find_in_app("shop", "DELETE", "/items");
        assert_eq!(found, Found::OtherMethods(vec!["GET".to_owned()]));
    }

    #[test]
    fn a_domain_has_its_routes_at_its_root() {
        let found = table().find_on_domain("shop.example", "GET", "/7");
        assert!(matches!(found, Found::Script(target, _, _) if target.script == "show"));
        assert_eq!(table().find_on_domain("other.example", "GET", "/7"), Found::Nothing);
        assert_eq!(table().find_in_app("shop", "GET", "/7"), Found::Nothing);
    }
}
