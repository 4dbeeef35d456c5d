//! CORS: requests from pages of other origins (WHATWG Fetch, section 3.2, "CORS protocol"). Pure.
//!
//! Invariant: an origin must match a listed one exactly; parts of origins are never compared.
//! Invariant: a request from an origin that is not allowed still runs, and the browser hides the
//! response from the page. CORS protects users, not routes.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use crate::definitions::MethodRules;
use crate::store::Cors;

/// The request headers that a preflight response depends on, for caches.
const PREFLIGHT_VARY: &str =
    "origin, access-control-request-method, access-control-request-headers";
/// Headers that the route decides. Those that a script sets are removed.
const DECIDED: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];
const ALL: &str = "*";

/// Whether this is a preflight, which a browser sends before a page's request (section 3.2.2).
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Returns the response to a preflight, from the routes of its path.
pub(super) fn preflight(routes: &[MethodRules], headers: &HeaderMap) -> Response {
    let mut answer = Response::default();
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let set = answer.headers_mut();
    set.insert(header::VARY, HeaderValue::from_static(PREFLIGHT_VARY));
    let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD);
    let wanted = wanted.and_then(|method| method.to_str().ok()).unwrap_or_default();
    let answers =
        |method: &str| method == wanted || method == ALL || (method == "GET" && wanted == "HEAD");
    let route = routes.iter().find(|(method, _)| answers(method));
    let cors = route.and_then(cors_of);
    let Some((cors, origin)) = cors.and_then(|cors| Some((cors, allowed(cors, headers)?))) else {
        return answer;
    };
    let mut methods: Vec<&str> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        // If credentials are allowed, `*` is not a wildcard but a name.
        let method = if route.0 == ALL { wanted } else { &route.0 };
        let is_chosen =
            !routes[..index].iter().any(|(before, _)| before == ALL || before == method);
        if is_chosen && cors_of(route).is_some_and(|cors| allowed(cors, headers).is_some()) {
            methods.push(method);
        }
    }
    methods.sort_unstable();
    set.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    allow_credentials(cors, set);
    insert(set, header::ACCESS_CONTROL_ALLOW_METHODS, &methods.join(", "));
    if !cors.headers.is_empty() {
        insert(set, header::ACCESS_CONTROL_ALLOW_HEADERS, &cors.headers.join(", "));
    }
    insert(set, header::ACCESS_CONTROL_MAX_AGE, &cors.max_age_s.to_string());
    answer
}

fn cors_of((_, rules): &MethodRules) -> Option<&Cors> {
    rules.as_ref()?.policy.cors.as_ref()
}

/// Sets the headers that tell the browser whether the page can read the response.
pub(super) fn decorate(cors: &Cors, request: &HeaderMap, answer: &mut HeaderMap) {
    for name in DECIDED {
        answer.remove(name);
    }
    if !allows_all(cors) {
        answer.append(header::VARY, HeaderValue::from_static("origin"));
    }
    let Some(origin) = allowed(cors, request) else { return };
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    allow_credentials(cors, answer);
    if !cors.exposed_headers.is_empty() {
        insert(answer, header::ACCESS_CONTROL_EXPOSE_HEADERS, &cors.exposed_headers.join(", "));
    }
}

/// Returns the value for `Access-Control-Allow-Origin`, if the origin is allowed.
fn allowed(cors: &Cors, request: &HeaderMap) -> Option<HeaderValue> {
    let origin = request.get(header::ORIGIN)?;
    if allows_all(cors) {
        return Some(HeaderValue::from_static(ALL));
    }
    // Browsers write an origin in only one way: in lower case, without the default port.
    let is_listed = cors.origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes());
    is_listed.then(|| origin.clone())
}

fn allows_all(cors: &Cors) -> bool {
    cors.origins.iter().any(|origin| origin == ALL)
}

fn allow_credentials(cors: &Cors, answer: &mut HeaderMap) {
    if cors.credentials && !allows_all(cors) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::definitions::RouteRules;
    use crate::store::RoutePolicy;

    fn cors(origins: &[&str]) -> Cors {
        let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        Cors { origins, ..Cors::default() }
    }

    fn from(origin: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ORIGIN, origin.parse().unwrap())])
    }

    fn seen(cors: &Cors, origin: &str) -> Option<String> {
        let mut answer = HeaderMap::new();
        decorate(cors, &from(origin), &mut answer);
        let allowed = answer.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        allowed.map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn an_origin_is_allowed_only_as_it_is_listed() {
        let listed = cors(&["https://good.example", "http://localhost:5173"]);
        for right in ["https://good.example", "http://localhost:5173"] {
            assert_eq!(seen(&listed, right).as_deref(), Some(right));
        }
        for wrong in [
            "null",
            "",
            "*",
            "http://good.example",
            "https://good.example:8443",
            "https://good.example.evil.test",
            "https://evilgood.example",
            "https://sub.good.example",
            "https://good.example/",
            "https://good.example@evil.test",
            "https://GOOD.example",
            "HTTPS://good.example",
            "https://good.example, https://evil.test",
            "http://localhost",
        ] {
            assert_eq!(seen(&listed, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn all_are_allowed_without_their_credentials() {
        let all = Cors { credentials: true, ..cors(&["*"]) };
        let mut answer = HeaderMap::new();
        decorate(&all, &from("null"), &mut answer);
        assert_eq!(answer.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "*");
        assert_eq!(answer.get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS), None);
        assert_eq!(answer.get(header::VARY), None);
    }

    #[test]
    fn what_a_script_said_about_origins_does_not_count() {
        let listed = Cors { credentials: true, ..cors(&["https://good.example"]) };
        let scripted = || {
            HeaderMap::from_iter([
                (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
                (header::VARY, HeaderValue::from_static("accept")),
            ])
        };
        let mut answer = scripted();
        decorate(&listed, &from("https://evil.test"), &mut answer);
        assert_eq!(answer.get(header::ACCESS_CONTROL_ALLOW_ORIGIN), None);
        let vary: Vec<_> = answer.get_all(header::VARY).iter().collect();
        assert_eq!(vary, ["accept", "origin"]);
        let mut answer = scripted();
        decorate(&listed, &from("https://good.example"), &mut answer);
        assert_eq!(answer.get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS).unwrap(), "true");
        // Also without an origin: a cache can serve this response to a request with one.
        let mut answer = HeaderMap::new();
        decorate(&listed, &HeaderMap::new(), &mut answer);
        assert_eq!(answer.get(header::VARY).unwrap(), "origin");
    }

    fn asked(origin: &str, method: &str) -> HeaderMap {
        let mut headers = from(origin);
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, method.parse().unwrap());
        headers
    }

    fn routes(list: &[(&str, &Cors)]) -> Vec<MethodRules> {
        let rules = |cors: &Cors| {
            let policy = RoutePolicy { cors: Some(cors.clone()), ..RoutePolicy::default() };
            Some(Arc::new(RouteRules { id: Uuid::from_u128(1).into(), policy }))
        };
        list.iter().map(|(method, cors)| ((*method).to_owned(), rules(cors))).collect()
    }

    #[test]
    fn a_preflight_tells_the_methods_of_the_path_that_the_origin_may_use() {
        let (ours, theirs) = (cors(&["https://good.example"]), cors(&["https://other.example"]));
        let ours = Cors {
            headers: vec!["content-type".to_owned(), "x-api-key".to_owned()],
            max_age_s: 600,
            ..ours
        };
        let routes = routes(&[("GET", &ours), ("POST", &ours), ("DELETE", &theirs)]);
        let told = |origin: &str, method: &str, name: HeaderName| {
            let answer = preflight(&routes, &asked(origin, method));
            assert_eq!(answer.status(), StatusCode::NO_CONTENT);
            assert_eq!(answer.headers()[header::VARY], PREFLIGHT_VARY);
            answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        let good = "https://good.example";
        let methods = || header::ACCESS_CONTROL_ALLOW_METHODS;
        assert_eq!(told(good, "POST", methods()).as_deref(), Some("GET, POST"));
        assert_eq!(told(good, "HEAD", methods()).as_deref(), Some("GET, POST"));
        let headers = told(good, "GET", header::ACCESS_CONTROL_ALLOW_HEADERS);
        assert_eq!(headers.as_deref(), Some("content-type, x-api-key"));
        let max_age = told(good, "GET", header::ACCESS_CONTROL_MAX_AGE);
        assert_eq!(max_age.as_deref(), Some("600"));
        for (origin, method) in [
            (good, "DELETE"),
            (good, "PUT"),
            (good, "post"),
            ("https://good.example.evil.test", "GET"),
            ("null", "GET"),
        ] {
            assert_eq!(told(origin, method, header::ACCESS_CONTROL_ALLOW_ORIGIN), None, "{method}");
        }
    }

    #[test]
    fn a_preflight_is_about_the_route_that_the_request_would_choose() {
        let ours = cors(&["https://good.example"]);
        let mut routes = routes(&[("POST", &ours), ("GET", &ours), ("*", &ours)]);
        // The most specific path has a GET and an endpoint, both without CORS.
        routes.splice(0..0, [("GET".to_owned(), None)]);
        let allowed = |routes: &[MethodRules], method: &str| {
            let answer = preflight(routes, &asked("https://good.example", method));
            let methods = answer.headers().get(header::ACCESS_CONTROL_ALLOW_METHODS);
            methods.map(|methods| methods.to_str().unwrap().to_owned())
        };
        assert_eq!(allowed(&routes, "GET"), None);
        assert_eq!(allowed(&routes, "HEAD"), None);
        assert_eq!(allowed(&routes, "POST").as_deref(), Some("POST"));
        assert_eq!(allowed(&routes, "PUT").as_deref(), Some("POST, PUT"));
        routes.splice(1..1, [("*".to_owned(), None)]);
        assert_eq!(allowed(&routes, "POST"), None);
    }

    #[test]
    fn a_route_of_all_methods_allows_the_one_that_is_asked_for() {
        let routes = routes(&[("*", &cors(&["https://good.example"]))]);
        let answer = preflight(&routes, &asked("https://good.example", "PATCH"));
        assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_METHODS], "PATCH");
    }

    #[test]
    fn only_a_question_with_an_origin_and_a_method_is_a_preflight() {
        let question = asked("https://good.example", "GET");
        assert!(is_preflight(&Method::OPTIONS, &question));
        assert!(!is_preflight(&Method::GET, &question));
        assert!(!is_preflight(&Method::OPTIONS, &from("https://good.example")));
    }
}
