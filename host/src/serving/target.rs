//! Refuses ambiguous requests before routing. A proxy and PiCloud must never interpret a request
//! differently: the proxy would check another request than PiCloud runs. Pure.
//!
//! ```text
//! path and query too long              414
//! CONNECT, TRACE                       501
//! Transfer-Encoding except chunked     501
//! Host missing, repeated or invalid    400
//! OPTIONS *                            204
//! no path                              400
//! ```
//!
//! Source: RFC 9110, section 9; RFC 9112, sections 3.2, 6.1 and 11.2. Hyper itself responds with
//! 400 to requests it cannot parse: an invalid `Content-Length` (also above 64 bits), a coding
//! after `chunked`, an invalid chunk.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Request, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};

use crate::error::{Error, Refusal};
use crate::hostname::Hostname;

/// Checks whether a request can go on to the routes.
///
/// # Errors
/// The response to a request that no route must see.
pub(super) fn check<B>(request: &Request<B>, uri_bytes_max: usize) -> Result<(), Box<Response>> {
    let (uri, method) = (request.uri(), request.method());
    let path_bytes = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if path_bytes > uri_bytes_max {
        let message = format!("the path and query have more than {uri_bytes_max} bytes");
        let refusal = Refusal::new("uri_too_long", message).with("most", uri_bytes_max);
        let mut answer = Error::TooLarge(refusal).into_response();
        *answer.status_mut() = StatusCode::URI_TOO_LONG;
        return Err(Box::new(answer));
    }
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(not_implemented(&format!("the method {method} is not supported")));
    }
    if !is_framed_as_we_read_it(request.headers()) {
        return Err(not_implemented("the only supported Transfer-Encoding is chunked"));
    }
    host(request).map_err(|message| invalid("host_invalid", message))?;
    if uri.path() == "*" && method == Method::OPTIONS {
        return Err(Box::new(StatusCode::NO_CONTENT.into_response()));
    }
    if !uri.path().starts_with('/') {
        return Err(invalid("path_invalid", "the request has no path that begins with /"));
    }
    Ok(())
}

fn invalid(code: &'static str, message: &str) -> Box<Response> {
    Box::new(Error::Invalid(Refusal::new(code, message)).into_response())
}

fn not_implemented(message: &str) -> Box<Response> {
    let mut answer = Error::Invalid(Refusal::new("not_implemented", message)).into_response();
    *answer.status_mut() = StatusCode::NOT_IMPLEMENTED;
    Box::new(answer)
}

/// Whether the body has no transfer coding besides the chunks that hyper decodes.
fn is_framed_as_we_read_it(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

fn host<B>(request: &Request<B>) -> Result<(), &'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        (None, _) if request.version() < Version::HTTP_11 => return Ok(()),
        (None, _) => return Err("the header Host is missing"),
        (Some(_), Some(_)) => return Err("the header Host was sent more than once"),
    };
    let host = host.to_str().ok().filter(|host| Hostname::parse(host).is_ok());
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    let host = host.filter(|host| !host.as_str().contains('@'));
    let host = host.ok_or("the header Host is not a valid host")?;
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
