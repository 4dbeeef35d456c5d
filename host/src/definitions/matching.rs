//! Finds the script that answers a request. Pure: definitions in, target out.
//!
//! ```text
//! /x/{app}/{script}   every script's own endpoint, every method
//! /x/{app}/…          the app's routes
//! {domain}/…          the routes on a domain that the app has verified
//! ```
//!
//! A route answers requests that match its path and its method. A static segment takes precedence
//! over a parameter, and a parameter over a rest. On one path, a method takes precedence over `*`,
//! and a route over an endpoint.
//!
//! Invariant: a match carries the policies of its route and its app, so that no request is answered
//! without checking them. A policy that requires nothing is left out.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::path_tree::PathTree;
use super::triggers::Triggers;
use crate::hostname::{Hostname, ReservedHosts};
use crate::limits::Budget;
use crate::private_hosts::PrivateHosts;
use crate::store::{
    AppId, Definitions, Delivery, DomainDefinition, Endpoints, IngressPolicy, RouteAuth, RouteId,
    RoutePolicy, ScriptDefinition, ScriptId, ScriptLimits,
};

/// The method that matches every method.
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
    /// The SHA-256 of that version's source, in hexadecimal.
    pub source_sha256: String,
    /// The limits that the script asks for.
    pub budget: Budget,
    /// The private hosts that the app's outbound requests can use.
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

/// A script that answers a request, and the policies to check before it runs.
#[derive(Debug, PartialEq, Eq)]
pub struct Match {
    /// The script.
    pub target: Arc<Target>,
    /// The path's parameters, decoded.
    pub params: Vec<(String, String)>,
    /// Whether the request waits for the run.
    pub delivery: Delivery,
    /// The route; `None` for a script's endpoint.
    pub route_id: Option<RouteId>,
    /// The route's policy, if it requires anything.
    pub route: Option<Arc<RouteRules>>,
    /// The app's policy, if it has one.
    pub app: Option<Arc<IngressPolicy>>,
}

/// A route whose policy requires something of its requests.
#[derive(Debug, PartialEq, Eq)]
pub struct RouteRules {
    /// The route.
    pub id: RouteId,
    /// The policy.
    pub policy: RoutePolicy,
}

/// The result of looking up a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup {
    /// This script answers.
    Script(Match),
    /// The routes of an `OPTIONS` request's path, at least one of which allows other origins; and
    /// the result for an `OPTIONS` request that is not a preflight.
    Preflight(Vec<MethodRules>, Box<Lookup>),
    /// A closed script endpoint, with no route in its place.
    Closed,
    /// The path exists, but only with these methods.
    OtherMethods(Vec<String>),
    /// No script answers this path.
    Nothing,
}

/// A method of a path, or `*` for all methods, and the policy of its route.
pub type MethodRules = (String, Option<Arc<RouteRules>>);

/// All apps, domains, scripts, routes and triggers, indexed for lookup.
#[derive(Default)]
pub struct Table {
    apps: HashMap<String, PathTree<Methods>>,
    domains: HashMap<Hostname, Domain>,
    /// Places that the platform closed by itself; see [`Table::warnings`].
    warnings: Vec<String>,
    scripts: HashMap<ScriptId, Arc<Target>>,
    names: HashMap<(String, String), Arc<Target>>,
    /// The routes whose policy requires something.
    asking: HashSet<RouteId>,
    app_ids: HashSet<AppId>,
    /// The closed endpoints, by app and path.
    closed: HashSet<(String, String)>,
    triggers: Triggers,
    revision: i64,
}

/// The candidates of one path, by method.
type Methods = Vec<Candidate>;

/// A verified domain.
struct Domain {
    app_id: AppId,
    paths: PathTree<Methods>,
}

struct Candidate {
    method: String,
    parameters: Vec<String>,
    target: Arc<Target>,
    delivery: Delivery,
    route_id: Option<RouteId>,
    route: Option<Arc<RouteRules>>,
    app: Option<Arc<IngressPolicy>>,
}

impl Table {
    /// Builds the table of these definitions.
    #[must_use]
    pub fn of(definitions: Definitions) -> Self {
        let mut table = Self::default();
        let mut switched_off = HashSet::new();
        for script in definitions.scripts {
            if script.endpoint_closed_at.is_some() {
                switched_off.insert(script.script_id.clone());
            }
            let target = Arc::new(Target::from(script));
            table.scripts.insert(target.script_id.clone(), target);
        }
        table.add_domains(definitions.domains, &definitions.reserved_hosts);
        let unknown = definitions.ingress.iter().filter(|app| app.ingress.is_unknown);
        table.warnings.extend(
            unknown.map(|app| {
                format!("the app {} is closed: its policy is not recognised", app.app_id)
            }),
        );
        let policies: HashMap<_, _> = definitions
            .ingress
            .into_iter()
            .map(|app| (app.app_id, Arc::new(app.ingress)))
            .collect();
        let mut guarded = HashSet::new();
        for route in definitions.routes {
            if route.policy.auth == RouteAuth::Unknown {
                table.warnings.push(format!(
                    "the route {} {}{} of the app {} is closed: its policy is not recognised",
                    route.method, route.host, route.path, route.app_name
                ));
            }
            if !route.policy.auth.is_none() {
                guarded.insert(route.script_id.clone());
            }
            let Some(target) = table.scripts.get(&route.script_id) else {
                continue;
            };
            let place = if route.host.is_empty() {
                table.apps.entry(route.app_name).or_default()
            } else {
                match table.domains.get_mut(&Hostname::Name(route.host)) {
                    Some(domain) if domain.app_id == route.app_id => &mut domain.paths,
                    // The domain is pending, reserved, or verified for another app.
                    _ => continue,
                }
            };
            let target = Arc::clone(target);
            let parameters = parameters(&route.path);
            let asks = route.policy != RoutePolicy::default();
            let route_id = Some(route.id.clone());
            let rules = asks.then_some(RouteRules { id: route.id, policy: route.policy });
            table.asking.extend(rules.iter().map(|rules| rules.id.clone()));
            place.entry(&route.path).push(Candidate {
                method: route.method,
                parameters,
                app: policies.get(&target.app_id).cloned(),
                target,
                delivery: route.delivery,
                route_id,
                route: rules.map(Arc::new),
            });
        }
        // After the routes, so that a route takes precedence over an endpoint.
        for target in table.scripts.values() {
            table.app_ids.insert(target.app_id.clone());
            let policy = policies.get(&target.app_id);
            // A script's own switch only closes. It never opens an endpoint that a policy closes.
            let is_switched_off = switched_off.contains(&target.script_id);
            let is_closed = is_switched_off
                || match policy.map(|policy| policy.endpoints).unwrap_or_default() {
                    Endpoints::Unguarded => guarded.contains(&target.script_id),
                    Endpoints::Open => false,
                    Endpoints::Closed => true,
                };
            let app = table.apps.entry(target.app.clone()).or_default();
            let path = format!("/{}", target.script);
            let name = (target.app.clone(), target.script.clone());
            table.names.insert(name, Arc::clone(target));
            if is_closed {
                table.closed.insert((target.app.clone(), path));
                continue;
            }
            app.entry(&path).push(Candidate {
                method: ANY.to_owned(),
                parameters: Vec::new(),
                target: Arc::clone(target),
                delivery: Delivery::Sync,
                route_id: None,
                route: None,
                app: policy.cloned(),
            });
        }
        table.triggers = Triggers::of(definitions.triggers);
        table.revision = definitions.stored_revision;
        table
    }

    /// Adds the verified domains. A domain belongs to its app even while it has no routes.
    fn add_domains(&mut self, domains: Vec<DomainDefinition>, reserved: &[String]) {
        let reserved = ReservedHosts::of(reserved.iter().map(String::as_str));
        for DomainDefinition { host, app_id } in domains {
            match Hostname::parse(&host) {
                Ok(name) if !reserved.includes(&name) => {
                    self.domains.insert(name, Domain { app_id, paths: PathTree::default() });
                }
                _ => self.warnings.push(format!(
                    "the domain {host} is closed: its host is reserved for the platform"
                )),
            }
        }
    }

    /// Returns the result for `method path` under `/x/{app}`.
    #[must_use]
    pub fn find_in_app(&self, app: &str, method: &str, path: &str) -> Lookup {
        let Some(paths) = self.apps.get(app) else { return Lookup::Nothing };
        match find(paths, method, path) {
            Lookup::Nothing if self.closed.contains(&(app.to_owned(), path.to_owned())) => {
                Lookup::Closed
            }
            found => found,
        }
    }

    /// Whether an app has this domain.
    #[must_use]
    pub fn has_domain(&self, host: &Hostname) -> bool {
        self.domains.contains_key(host)
    }

    /// Returns the result for `method path` on a domain; `None` if no app has this domain.
    #[must_use]
    pub fn find_on_domain(&self, host: &Hostname, method: &str, path: &str) -> Option<Lookup> {
        self.domains.get(host).map(|domain| find(&domain.paths, method, path))
    }

    /// Returns messages to the operator about places that the platform closed by itself: reserved
    /// domains, and routes and apps whose policy this release does not understand.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns a script by its id.
    #[must_use]
    pub fn find_script(&self, id: &ScriptId) -> Option<Arc<Target>> {
        self.scripts.get(id).cloned()
    }

    /// Returns a script by its app's name and its own name.
    #[must_use]
    pub fn find_script_by_name(&self, app: &str, script: &str) -> Option<Arc<Target>> {
        self.names.get(&(app.to_owned(), script.to_owned())).cloned()
    }

    /// Whether this route exists and its policy requires something.
    #[must_use]
    pub fn has_asking_route(&self, id: &RouteId) -> bool {
        self.asking.contains(id)
    }

    /// The revision of the definitions, which a commit based on this table states.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Whether this app exists and has a script.
    #[must_use]
    pub fn has_app(&self, id: &AppId) -> bool {
        self.app_ids.contains(id)
    }

    /// The triggers.
    pub(crate) fn triggers(&self) -> &Triggers {
        &self.triggers
    }
}

fn find(paths: &PathTree<Methods>, method: &str, path: &str) -> Lookup {
    if method == "OPTIONS"
        && let Some(routes) = preflight(paths, path)
    {
        return Lookup::Preflight(routes, Box::new(choose(paths, method, path)));
    }
    choose(paths, method, path)
}

/// Returns the methods of this path, in the order in which a request chooses them. `None` if a
/// script answers `OPTIONS` itself, or if no route allows other origins.
fn preflight(paths: &PathTree<Methods>, path: &str) -> Option<Vec<MethodRules>> {
    let mut routes: Vec<MethodRules> = Vec::new();
    paths.search(path, |candidates, _| {
        if candidates.iter().any(|candidate| candidate.method == "OPTIONS") {
            return Some(());
        }
        let of = |candidate: &Candidate| (candidate.method.clone(), candidate.route.clone());
        let (any, named): (Vec<_>, Vec<_>) =
            candidates.iter().partition(|candidate| candidate.method == ANY);
        routes.extend(named.into_iter().chain(any).map(of));
        None
    });
    let has_cors = |rules: &RouteRules| rules.policy.cors.is_some();
    routes.iter().any(|(_, rules)| rules.as_deref().is_some_and(has_cors)).then_some(routes)
}

fn choose(paths: &PathTree<Methods>, method: &str, path: &str) -> Lookup {
    let mut methods = BTreeSet::new();
    let mut is_known = false;
    let found = paths.search(path, |candidates, values| {
        is_known = true;
        let found = candidate_for(candidates, method).map(|candidate| candidate.found(values));
        if found.is_none() {
            methods.extend(candidates.iter().map(|candidate| candidate.method.clone()));
        }
        found
    });
    match found {
        Some(found) => Lookup::Script(found),
        None if is_known => {
            if methods.contains("GET") {
                methods.insert("HEAD".to_owned());
            }
            Lookup::OtherMethods(methods.into_iter().collect())
        }
        None => Lookup::Nothing,
    }
}

fn candidate_for<'a>(candidates: &'a [Candidate], method: &str) -> Option<&'a Candidate> {
    let with = |wanted| candidates.iter().find(|candidate| candidate.method == wanted);
    // RFC 9110, section 9.3.2: HEAD is GET without the response body.
    let head = || (method == "HEAD").then(|| with("GET")).flatten();
    with(method).or_else(head).or_else(|| with(ANY))
}

impl Candidate {
    fn found(&self, values: &[&str]) -> Match {
        let values = values.iter().map(|value| decoded(value));
        Match {
            target: Arc::clone(&self.target),
            params: self.parameters.iter().cloned().zip(values).collect(),
            delivery: self.delivery,
            route_id: self.route_id.clone(),
            route: self.route.clone(),
            app: self.app.clone(),
        }
    }
}

/// Returns the names of a pattern's parameters, in order.
fn parameters(pattern: &str) -> Vec<String> {
    let segments = pattern.split('/');
    let names = segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| name.strip_prefix('*').unwrap_or(name).to_owned()).collect()
}

/// Decodes a parameter. Invalid UTF-8 becomes replacement characters; `ctx.request.path` has the
/// exact bytes.
fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
