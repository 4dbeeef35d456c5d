//! One request, and the next one after a redirect. Pure except for [`Hop::send_by`].
//!
//! Invariant: credentials are only sent to the origin that the script named.

use std::net::IpAddr;

use picloud_shared::calls::http::Send;
use reqwest::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE,
    HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use reqwest::{Client, Method, Response, StatusCode, Url};

use super::address::is_public;
use super::{REMEDY, REQUEST_BYTES_MAX, REQUEST_HEADER_BYTES_MAX, REQUEST_HEADERS_MAX};
use crate::secrets::{Revealed, is_credential};

/// Headers of the connection, which the host sets.
const RESERVED: [HeaderName; 7] =
    [HOST, CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
/// Headers that describe a body.
const OF_BODY: [HeaderName; 4] =
    [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION];

/// A request as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Hop {
    /// Creates the request of a script, and checks everything except its address.
    pub(super) fn of(send: Send) -> Result<Self, String> {
        let url = Url::parse(&send.url).map_err(|error| format!("the address: {error}"))?;
        let method = send.method.parse().map_err(|_| "the method is not valid".to_owned())?;
        if send.body.len() > REQUEST_BYTES_MAX {
            let has = send.body.len();
            return Err(format!(
                "the body has {has} bytes, at most {REQUEST_BYTES_MAX} are allowed"
            ));
        }
        Ok(Self { method, url, headers: headers(&send.headers)?, body: send.body })
    }

    /// Sends the request, and waits for the head of the response.
    pub(super) async fn send_by(&self, client: &Client) -> Result<Response, reqwest::Error> {
        let request = client.request(self.method.clone(), self.url.clone());
        request.headers(self.all_headers()).body(self.body.clone()).send().await
    }

    /// Returns the script's headers. Adds the length of an empty body, because some servers wait
    /// for a body without it (RFC 9110, section 8.6).
    fn all_headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        let expects_body = [Method::POST, Method::PUT, Method::PATCH].contains(&self.method);
        if expects_body && self.body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        headers
    }

    /// Returns the host as written in the address, and the port.
    pub(super) fn origin(&self) -> Result<(&str, u16), String> {
        match self.url.scheme() {
            "http" | "https" => {}
            other => return Err(format!("the address begins with {other}:, not http: or https:")),
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return Err("the address has a user or a password in it; send them as a header".into());
        }
        match (self.url.host_str(), self.url.port_or_known_default()) {
            (Some(host), Some(port)) if port != 0 => Ok((host, port)),
            (Some(_), _) => Err("the address has the port 0".to_owned()),
            (None, _) => Err("the address has no host".to_owned()),
        }
    }

    /// Refuses a private host without resolving it. The client connects to an IP address in the URL
    /// without calling the resolver.
    pub(super) fn check_public(&self) -> Result<(), String> {
        let (host, _) = self.origin()?;
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if let Ok(address) = literal {
            return if is_public(address) {
                Ok(())
            } else {
                Err(format!("{address} is not a public address; {REMEDY}"))
            };
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        // RFC 6761, section 6.3: these names always mean this machine.
        if name == "localhost" || name.ends_with(".localhost") {
            return Err(format!("{name} has no public address; {REMEDY}"));
        }
        Ok(())
    }

    /// Returns the request that a response redirects to (RFC 9110, section 15.4); `None` if it does
    /// not redirect.
    pub(super) fn redirected(
        &self,
        status: StatusCode,
        location: Option<&HeaderValue>,
        secrets: &Revealed,
    ) -> Result<Option<Self>, String> {
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let Some(location) = location else { return Ok(None) };
        let wrong = |error: &dyn std::fmt::Display| format!("the redirect: {error}");
        let location = std::str::from_utf8(location.as_bytes()).map_err(|error| wrong(&error))?;
        let url = self.url.join(location).map_err(|error| wrong(&error))?;
        if self.url.scheme() == "https" && url.scheme() == "http" {
            return Err("the redirect leads from https to http".to_owned());
        }
        let mut next = Self { url, ..self.clone() };
        let becomes_get = match status.as_u16() {
            303 => self.method != Method::GET && self.method != Method::HEAD,
            301 | 302 => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            next.method = Method::GET;
            next.body = Vec::new();
            OF_BODY.iter().for_each(|name| drop(next.headers.remove(name)));
        }
        if self.url.origin() != next.url.origin() {
            next.drop_credentials(secrets);
        }
        Ok(Some(next))
    }

    fn drop_credentials(&mut self, secrets: &Revealed) {
        let secrets = secrets.masker();
        let names: Vec<HeaderName> = self
            .headers
            .iter()
            .filter(|(name, value)| is_credential(name.as_str()) || secrets.finds(value.as_bytes()))
            .map(|(name, _)| name.clone())
            .collect();
        names.iter().for_each(|name| drop(self.headers.remove(name)));
    }
}

fn headers(given: &[(String, String)]) -> Result<HeaderMap, String> {
    if given.len() > REQUEST_HEADERS_MAX {
        let has = given.len();
        return Err(format!(
            "the request has {has} headers, at most {REQUEST_HEADERS_MAX} are allowed"
        ));
    }
    let bytes: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > REQUEST_HEADER_BYTES_MAX {
        return Err(format!(
            "the request's headers have {bytes} bytes, at most {REQUEST_HEADER_BYTES_MAX} are \
             allowed"
        ));
    }
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let known = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("{name:?} is not a header name"))?;
        if RESERVED.contains(&known) {
            return Err(format!("only the server can set the header {known}"));
        }
        let value = HeaderValue::from_str(value).map_err(|_| {
            format!(
                "the value of the header {known} contains characters that are not allowed in a \
                 header"
            )
        })?;
        headers.append(known, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::SecretValue;

    fn read(secret: SecretValue) -> Revealed {
        let revealed = Revealed::default();
        revealed.add("NAME".to_owned(), secret);
        revealed
    }

    fn hop(method: &str, url: &str, headers: &[(&str, &str)]) -> Hop {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Hop::of(Send {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: headers.collect(),
            body: b"body".to_vec(),
            timeout_ms: None,
            redirects: None,
            idempotency_key: false,
        })
        .unwrap()
    }

    fn next(hop: &Hop, status: u16, location: &str) -> Result<Option<Hop>, String> {
        let location = HeaderValue::from_str(location).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        let secret = SecretValue::from("s3cret".to_owned());
        hop.redirected(status, Some(&location), &read(secret))
    }

    #[test]
    fn a_redirect_keeps_the_method_or_becomes_a_get() {
        let table = [
            ("POST", 301, "GET"),
            ("POST", 302, "GET"),
            ("POST", 303, "GET"),
            ("POST", 307, "POST"),
            ("POST", 308, "POST"),
            ("PUT", 301, "PUT"),
            ("PUT", 303, "GET"),
            ("DELETE", 302, "DELETE"),
            ("GET", 303, "GET"),
            ("HEAD", 303, "HEAD"),
            ("HEAD", 301, "HEAD"),
        ];
        for (method, status, then) in table {
            let first =
                hop(method, "http://a.example/x", &[("content-type", "text/plain"), ("x-a", "1")]);
            let next = next(&first, status, "y?z").unwrap().unwrap();
            assert_eq!((next.method.as_str(), next.url.as_str()), (then, "http://a.example/y?z"));
            let keeps = method == then;
            assert_eq!(next.body.is_empty(), !keeps, "{method} {status}");
            assert_eq!(next.headers.contains_key("content-type"), keeps, "{method} {status}");
            assert!(next.headers.contains_key("x-a"));
        }
        for status in [200, 300, 304, 305, 404] {
            assert!(next(&hop("GET", "http://a.example/", &[]), status, "/y").unwrap().is_none());
        }
        let alone = hop("GET", "http://a.example/", &[]).redirected(
            StatusCode::FOUND,
            None,
            &Revealed::default(),
        );
        assert!(alone.unwrap().is_none());
    }

    #[test]
    fn no_credential_goes_to_another_origin() {
        let given = [
            ("authorization", "a"),
            ("cookie", "b"),
            ("proxy-authorization", "c"),
            ("x-api-key", "d"),
            ("x-auth-token", "e"),
            ("x-plain", "Bearer s3cret"),
            ("x-note", "f"),
            ("idempotency-key", "g"),
        ];
        let first = hop("GET", "https://a.example/", &given);
        for same in ["/x", "https://a.example:443/x", "https://A.example/x", "//a.example/y"] {
            let next = next(&first, 302, same).unwrap().unwrap();
            assert_eq!(next.headers.len(), given.len(), "{same}");
        }
        for other in [
            "https://b.example/",
            "https://a.example:8443/",
            "https://x.a.example/",
            "//b.example/",
        ] {
            let next = next(&first, 307, other).unwrap().unwrap();
            let mut left: Vec<_> = next.headers.keys().map(HeaderName::as_str).collect();
            left.sort_unstable();
            assert_eq!(left, ["idempotency-key", "x-note"], "{other}");
        }
        let upgraded = next(&hop("GET", "http://a.example/", &given), 301, "https://a.example/");
        assert_eq!(upgraded.unwrap().unwrap().headers.len(), 2);
    }

    #[test]
    fn a_redirect_leads_to_no_worse_scheme() {
        let first = hop("GET", "https://a.example/", &[]);
        let said = next(&first, 302, "http://a.example/").unwrap_err();
        assert_eq!(said, "the redirect leads from https to http");
        for scheme in
            ["file:///etc/passwd", "gopher://a.example/", "data:text/plain,x", "javascript:1"]
        {
            let next = next(&first, 302, scheme).unwrap().unwrap();
            assert!(next.origin().unwrap_err().contains("not http: or https:"), "{scheme}");
        }
        assert!(next(&first, 302, "http://[::1").is_err());
    }

    #[test]
    fn what_a_request_may_have_is_limited() {
        let send = |headers: Vec<(String, String)>, body: usize| {
            Hop::of(Send {
                method: "GET".to_owned(),
                url: "http://a.example/".to_owned(),
                headers,
                body: vec![0; body],
                timeout_ms: None,
                redirects: None,
                idempotency_key: false,
            })
            .map(drop)
        };
        let many =
            |count: usize| (0..count).map(|n| (format!("x-{n:03}"), String::new())).collect();
        assert_eq!(send(many(REQUEST_HEADERS_MAX), REQUEST_BYTES_MAX), Ok(()));
        let said = send(many(REQUEST_HEADERS_MAX + 1), 0).unwrap_err();
        assert!(said.contains("101 headers, at most 100"), "{said}");
        assert!(send(Vec::new(), REQUEST_BYTES_MAX + 1).unwrap_err().contains("the body has"));
        let long = |bytes: usize| vec![("x".to_owned(), "v".repeat(bytes - 1))];
        assert_eq!(send(long(REQUEST_HEADER_BYTES_MAX), 0), Ok(()));
        assert!(send(long(REQUEST_HEADER_BYTES_MAX + 1), 0).unwrap_err().contains("bytes"));
        for name in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "connection",
            "upgrade",
            "te",
            "trailer",
        ] {
            let said = send(vec![(name.to_owned(), "a".to_owned())], 0).unwrap_err();
            assert!(said.contains("only the server can set"), "{said}");
        }
        assert!(send(vec![("x a".to_owned(), String::new())], 0).is_err());
        assert!(send(vec![("x".to_owned(), "a\r\nhost: b".to_owned())], 0).is_err());
    }
}
