use super::*;
use crate::store::{AppIngress, Cors, RouteAuth, RouteDefinition};
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
        endpoint_closed_at: None,
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
        policy: RoutePolicy::default(),
    }
}

fn domain(app: u128, host: &str) -> DomainDefinition {
    DomainDefinition { host: host.to_owned(), app_id: AppId::from(Uuid::from_u128(app)) }
}

fn host(text: &str) -> Hostname {
    Hostname::parse(text).unwrap()
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
    let domains = vec![domain(1, "shop.example")];
    let scripts = vec![list, show, all];
    Table::of(Definitions { scripts, routes, domains, ..Definitions::default() })
}

fn in_app(method: &str, path: &str) -> (String, Vec<(String, String)>) {
    match table().find_in_app("shop", method, path) {
        Lookup::Script(found) => (found.target.script.clone(), found.params),
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
    assert_eq!(table().find_in_app("other", "GET", "/show"), Lookup::Nothing);
    assert_eq!(table().find_in_app("shop", "GET", "/show/"), Lookup::Nothing);
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
    assert_eq!(found, Lookup::OtherMethods(vec!["GET".to_owned(), "HEAD".to_owned()]));
    // The methods of every path that matches.
    let found = table().find_in_app("shop", "DELETE", "/items/new");
    let methods = ["GET", "HEAD", "POST"].map(str::to_owned).to_vec();
    assert_eq!(found, Lookup::OtherMethods(methods));
}

#[test]
fn a_path_of_another_method_hides_no_route() {
    let scripts = [script(10, "show"), script(11, "search"), script(12, "rest")];
    let [show, search, rest] = scripts.clone();
    let mut routes = Vec::new();
    for (number, at) in [(20, ""), (30, "shop.example")] {
        routes.extend([
            route(number, &show, "GET", at, "/items/{id}"),
            route(number + 1, &search, "POST", at, "/items/search"),
            route(number + 2, &rest, "*", at, "/items/{*rest}"),
            route(number + 3, &rest, "PUT", at, "/{*rest}"),
            route(number + 4, &show, "POST", at, "/{kind}/all"),
        ]);
    }
    let definitions = Definitions {
        scripts: scripts.to_vec(),
        routes,
        domains: vec![domain(1, "shop.example")],
        ..Definitions::default()
    };
    let table = Table::of(definitions);
    for (method, path, expected, params) in [
        ("GET", "/items/search", "show", pair("id", "search")),
        ("HEAD", "/items/search", "show", pair("id", "search")),
        ("POST", "/items/search", "search", Vec::new()),
        ("PUT", "/items/search", "rest", pair("rest", "search")),
        ("POST", "/items/7", "rest", pair("rest", "7")),
        ("POST", "/things/all", "show", pair("kind", "things")),
        ("PUT", "/things/all", "rest", pair("rest", "things/all")),
    ] {
        let on_domain = table.find_on_domain(&host("shop.example"), method, path);
        for found in [table.find_in_app("shop", method, path), on_domain.unwrap()] {
            let Lookup::Script(found) = found else { panic!("{method} {path}: {found:?}") };
            let found = (found.target.script.as_str(), found.params);
            assert_eq!(found, (expected, params.clone()), "{method} {path}");
        }
    }
    let found = table.find_in_app("shop", "DELETE", "/things/all");
    assert_eq!(found, Lookup::OtherMethods(vec!["POST".to_owned(), "PUT".to_owned()]));
}

#[test]
fn a_domain_has_its_routes_at_its_root() {
    for spelling in ["shop.example", "SHOP.example.:8080"] {
        let found = table().find_on_domain(&host(spelling), "GET", "/7");
        assert!(matches!(found, Some(Lookup::Script(found)) if found.target.script == "show"));
    }
    assert_eq!(table().find_on_domain(&host("other.example"), "GET", "/7"), None);
    assert_eq!(table().find_in_app("shop", "GET", "/7"), Lookup::Nothing);
}

#[test]
fn routes_are_served_only_on_a_domain_that_is_verified_for_their_app_and_not_reserved() {
    let served = |domains: &[(u128, &str)], reserved: &[&str], on: &str| {
        let show = script(11, "show");
        let table = Table::of(Definitions {
            routes: vec![route(25, &show, "GET", "shop.example", "/")],
            scripts: vec![show],
            domains: domains.iter().map(|&(app, host)| domain(app, host)).collect(),
            reserved_hosts: reserved.iter().map(|&host| host.to_owned()).collect(),
            ..Definitions::default()
        });
        let found = table.find_on_domain(&host(on), "GET", "/");
        let closed = table.warnings().len();
        (found.map(|found| matches!(found, Lookup::Script(_))), closed)
    };
    let shop = "shop.example";
    assert_eq!(served(&[(1, shop)], &[], shop), (Some(true), 0));
    assert_eq!(served(&[], &[], shop), (None, 0), "pending");
    assert_eq!(served(&[(2, shop)], &[], shop), (Some(false), 0), "another app's");
    assert_eq!(served(&[(1, shop)], &["SHOP.example"], shop), (None, 1), "reserved");
    for local in ["localhost", "a.localhost", "10.0.0.1"] {
        assert_eq!(served(&[(1, local)], &[], local), (None, 1), "{local}");
    }
}

fn with_policy(policy: RoutePolicy, endpoints: Option<Endpoints>) -> Table {
    let (list, show) = (script(10, "list"), script(11, "show"));
    let guarded = RouteDefinition { policy, ..route(20, &list, "POST", "", "/in") };
    let routes =
        vec![guarded, route(21, &list, "GET", "", "/in"), route(22, &show, "*", "", "/{a}")];
    let ingress = endpoints.map(|endpoints| AppIngress {
        app_id: list.app_id.clone(),
        ingress: IngressPolicy { endpoints, ..IngressPolicy::default() },
    });
    Table::of(Definitions {
        scripts: vec![list, show],
        routes,
        ingress: ingress.into_iter().collect(),
        ..Definitions::default()
    })
}

fn key() -> RoutePolicy {
    let auth = RouteAuth::Key { secrets: vec!["a".to_owned()], header: None };
    RoutePolicy { auth, ..RoutePolicy::default() }
}

/// The name of the script that answers, or the debug form of any other result.
fn by(found: Lookup) -> String {
    match found {
        Lookup::Script(found) => found.target.script.clone(),
        other => format!("{other:?}"),
    }
}

#[test]
fn what_a_route_asks_comes_with_it_and_where_nothing_is_asked_nothing_comes() {
    let table = with_policy(key(), None);
    let rules = |method: &str| match table.find_in_app("shop", method, "/in") {
        Lookup::Script(found) => (found.route.map(|rules| rules.policy.clone()), found.app),
        other => panic!("{other:?}"),
    };
    assert_eq!(rules("POST"), (Some(key()), None));
    assert_eq!(rules("GET"), (None, None));
    let table = with_policy(key(), Some(Endpoints::Closed));
    let Lookup::Script(found) = table.find_in_app("shop", "GET", "/in") else { panic!() };
    assert_eq!(found.app.map(|app| app.endpoints), Some(Endpoints::Closed));
}

#[test]
fn an_endpoint_that_would_be_a_way_around_is_not_there() {
    // A route with a parameter can use its path.
    let answers = |table: &Table, path: &str| by(table.find_in_app("shop", "GET", path));
    assert_eq!(answers(&with_policy(key(), None), "/list"), "show");
    assert_eq!(answers(&with_policy(key(), Some(Endpoints::Open)), "/list"), "list");
    assert_eq!(answers(&with_policy(RoutePolicy::default(), None), "/list"), "list");
    let list = script(10, "list");
    let closed = Table::of(Definitions {
        ingress: vec![AppIngress {
            app_id: list.app_id.clone(),
            ingress: IngressPolicy { endpoints: Endpoints::Closed, ..IngressPolicy::default() },
        }],
        scripts: vec![list],
        ..Definitions::default()
    });
    assert_eq!(closed.find_in_app("shop", "GET", "/list"), Lookup::Closed);
    assert_eq!(closed.find_in_app("shop", "GET", "/other"), Lookup::Nothing);
    // Callers that already know the script's name still find it.
    assert!(closed.find_script_by_name("shop", "list").is_some());
}

#[test]
fn a_preflight_finds_the_routes_that_answer_other_origins() {
    let cors = Cors { origins: vec!["*".to_owned()], ..Cors::default() };
    let table = with_policy(RoutePolicy { cors: Some(cors), ..RoutePolicy::default() }, None);
    let Lookup::Preflight(routes, otherwise) = table.find_in_app("shop", "OPTIONS", "/in") else {
        panic!()
    };
    // A page that wants to PUT gets the `*` route, whose policy requires nothing.
    let methods = routes.iter().map(|(method, rules)| (&**method, rules.is_some()));
    let methods: Vec<_> = methods.collect();
    assert_eq!(methods, [("POST", true), ("GET", false), ("*", false)]);
    assert_eq!(by(*otherwise), "show");
    assert_eq!(by(table.find_in_app("shop", "OPTIONS", "/x")), "show");
}
