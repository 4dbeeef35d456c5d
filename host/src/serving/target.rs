//! What a request is meant for. A proxy and PiCloud must never understand it differently:
//! one would check what the other does not run. Pure.
//!
//! Source: RFC 9112, sections 3.2 and 11.2; what frames a body, hyper refuses itself.

use axum::http::uri::Authority;
use axum::http::{Request, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};

use crate::error::{Error, Refusal};
use crate::hostname::Hostname;

/// Refuses a request that is not meant for exactly one host, or whose path is too long.
pub(super) fn check<B>(request: &Request<B>, uri_bytes_max: usize) -> Result<(), Box<Response>> {
    let uri = request.uri();
    let path_bytes = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if path_bytes > uri_bytes_max {
        let message = format!("the path and query have more than {uri_bytes_max} bytes");
        let refusal = Refusal::new("uri_too_long", message).with("most", uri_bytes_max);
        let mut answer = Error::TooLarge(refusal).into_response();
        *answer.status_mut() = StatusCode::URI_TOO_LONG;
        return Err(Box::new(answer));
    }
    host(request).map_err(|message| {
        Box::new(Error::Invalid(Refusal::new("host_invalid", message)).into_response())
    })
}

fn host<B>(request: &Request<B>) -> Result<(), &'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        (None, _) if request.version() < Version::HTTP_11 => return Ok(()),
        (None, _) => return Err("the header Host is missing"),
        (Some(_), Some(_)) => return Err("the header Host is there more than once"),
    };
    let host = host.to_str().ok().filter(|host| Hostname::parse(host).is_ok());
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    let host = host.filter(|host| !host.as_str().contains('@'));
    let host = host.ok_or("the header Host is no host")?;
    match request.uri().authority() {
        Some(meant) if !meant.as_str().eq_ignore_ascii_case(host.as_str()) => {
            Err("the header Host is not the host of the request's address")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(uri: &str, hosts: &[&str]) -> u16 {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let request = request.body(()).unwrap();
        check(&request, 64).map_or_else(|answer| answer.status().as_u16(), |()| 200)
    }

    #[test]
    fn a_request_is_for_one_host() {
        for (uri, hosts, status) in [
            ("/", &["pi.example"][..], 200),
            ("/", &["pi.example:8080"], 200),
            ("/", &["[::1]:8080"], 200),
            ("/", &["Pi.Example.:99999"], 200),
            ("/", &["pi.example:"], 200),
            ("/", &["pi.example:http"], 400),
            ("/", &["pi..example"], 400),
            ("/", &[], 400),
            ("/", &[""], 400),
            ("/", &["a.example", "b.example"], 400),
            ("/", &["a.example", "a.example"], 400),
            ("/", &["a.example, b.example"], 400),
            ("/", &["a.example/b"], 400),
            ("/", &["ada@a.example"], 400),
            ("http://a.example/", &["a.example"], 200),
            ("http://A.example/", &["a.example"], 200),
            ("http://a.example/", &["b.example"], 400),
            ("http://a.example:81/", &["a.example"], 400),
        ] {
            assert_eq!(told(uri, hosts), status, "{uri} {hosts:?}");
        }
        let old = Request::builder().version(Version::HTTP_10).body(()).unwrap();
        assert!(check(&old, 64).is_ok());
    }

    #[test]
    fn a_path_has_an_end() {
        let path = |bytes: usize| format!("/{}?{}", "a".repeat(bytes - 3), "b");
        assert_eq!(told(&path(64), &["a.example"]), 200);
        assert_eq!(told(&path(65), &["a.example"]), 414);
    }
}
