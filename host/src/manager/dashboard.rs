//! The dashboard: static files embedded in the binary, and one page that serves every path of the
//! app.
//!
//! Each file is embedded as it is and compressed by gzip and brotli (`.gz`, `.br`) at build time,
//! so that no request compresses anything. A name below `_app/immutable/` holds a hash of the
//! content, and browsers cache it permanently. All other files are revalidated by ETag.
//!
//! Invariant: it loads nothing from other origins, and runs only its own scripts. Scripts of apps
//! answer on the same origin, below `/x/`, so `'self'` alone would allow theirs: see
//! [`page_policy`].

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::unknown_path;
use crate::auth::Auth;

/// The output of `make dashboard`. A debug build reads it from the folder.
#[derive(RustEmbed)]
#[folder = "../dashboard/build"]
#[allow_missing = true]
struct Files;

/// The page that serves every path.
const PAGE: &str = "index.html";
const NOT_BUILT: &str = "This PiCloud was built without its dashboard: `make dashboard` builds \
    it, and the next build of the server embeds it. Everything else works; see `picloud --help`.\n";

/// Path prefixes that are not the dashboard's. A request for a missing path below them gets 404,
/// not the page.
const NOT_PAGES: [&str; 5] = ["/api/", "/x/", "/health/", "/metrics", "/_app/"];

/// The encodings of the embedded files and their file endings, best first.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// Serves requests that no other route matches.
pub(super) async fn answer(State(auth): State<Auth>, request: Request) -> Response {
    let (path, headers) = (request.uri().path(), request.headers());
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read || !auth.is_dashboard_host(headers) {
        return unknown_path().await.into_response();
    }
    let name = path.trim_start_matches('/');
    if !name.is_empty() && !name.ends_with(".html") && Files::get(name).is_some() {
        return file(name, headers);
    }
    if !is_page(path, headers) {
        return unknown_path().await.into_response();
    }
    if Files::get(PAGE).is_none() {
        return (StatusCode::NOT_FOUND, NOT_BUILT).into_response();
    }
    file(PAGE, headers)
}

/// Whether the request wants a page of the dashboard.
fn is_page(path: &str, headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_other = NOT_PAGES.iter().any(|other| path.starts_with(other));
    // A program accepts any type, and wants a page at the root only.
    path == "/" || (!is_other && accept.is_some_and(|accept| accept.contains("html")))
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    let (encoding, found) = best(name, headers);
    let Some(found) = found else { return StatusCode::NOT_FOUND.into_response() };
    let etag = format!("\"{}\"", hex::encode(&found.metadata.sha256_hash()[..16]));
    let mut answer = if is_known(headers, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        found.data.into_response()
    };
    let content_type = mime_guess::from_path(name).first_or_octet_stream();
    let caching = if name.starts_with("_app/immutable/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut set = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, content_type.as_ref());
    set(header::CACHE_CONTROL, caching);
    set(header::ETAG, &etag);
    set(header::VARY, "accept-encoding");
    if name == PAGE {
        set(header::CONTENT_SECURITY_POLICY, &page_policy());
        set(header::X_FRAME_OPTIONS, "DENY");
    }
    if let Some(encoding) = encoding {
        set(header::CONTENT_ENCODING, encoding);
    }
    answer
}

/// The `Content-Security-Policy` of the page, in addition to the one in the page itself. A browser
/// applies both: the page's allows this origin only; this one allows only files below `/_app/` and
/// the inline scripts with the page's hashes. It names no host, because a proxy can change the
/// host.
fn page_policy() -> String {
    let page = Files::get(PAGE).map(|page| page.data).unwrap_or_default();
    let hashes = inline_hashes(&String::from_utf8_lossy(&page));
    format!("script-src {hashes}*:*/_app/; object-src 'none'; frame-ancestors 'none'")
}

/// The hashes in the page's own policy (`'sha256-…'`), each followed by a space.
fn inline_hashes(page: &str) -> String {
    let quoted = page.split('\'').filter(|text| text.starts_with("sha256-"));
    quoted.map(|hash| format!("'{hash}' ")).collect()
}

/// Returns the file in the best encoding that the caller accepts, and the encoding's name.
fn best(name: &str, headers: &HeaderMap) -> (Option<&'static str>, Option<EmbeddedFile>) {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let accepted = accepted.unwrap_or_default();
    let takes = |encoding: &str| {
        accepted.split(',').any(|part| {
            let mut part = part.split(';').map(str::trim);
            let is_it = part.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
            is_it && !part.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    };
    ENCODINGS
        .iter()
        .filter(|(encoding, _)| takes(encoding))
        .find_map(|(encoding, disposition)| {
            Files::get(&format!("{name}{disposition}")).map(|file| (Some(*encoding), Some(file)))
        })
        .unwrap_or_else(|| (None, Files::get(name)))
}

/// Whether `If-None-Match` contains the ETag.
pub(super) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    known.is_some_and(|known| known.split(',').any(|part| part.trim() == etag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(accept: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(header::ACCEPT, accept.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_page_is_for_people_and_never_in_the_place_of_something_else() {
        let browser = accepting(Some("text/html,application/xhtml+xml,*/*;q=0.8"));
        for path in ["/", "/apps/shop", "/apps/shop/scripts/a.b", "/xyz", "/instance"] {
            assert!(is_page(path, &browser), "{path}");
        }
        for path in ["/api/v2/apps", "/x/nobody/nothing", "/health/no", "/_app/gone.js"] {
            assert!(!is_page(path, &browser), "{path}");
        }
        let program = accepting(Some("*/*"));
        assert!(is_page("/", &program));
        assert!(!is_page("/apps/shop", &program));
        assert!(is_page("/", &accepting(None)));
        assert!(!is_page("/robots.txt", &accepting(None)));
    }

    #[test]
    fn the_hashes_of_a_page_are_those_of_its_own_policy() {
        let page = "<meta content=\"script-src 'self' 'sha256-a+/=' 'sha256-b'\"> sha256-c";
        assert_eq!(inline_hashes(page), "'sha256-a+/=' 'sha256-b' ");
        assert_eq!(inline_hashes(""), "");
    }

    #[test]
    fn a_file_that_a_browser_has_is_not_sent_again() {
        let with = |etags: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, etags.parse().unwrap());
            headers
        };
        assert!(is_known(&with("\"a\", \"b\""), "\"b\""));
        assert!(!is_known(&with("\"a\""), "\"b\""));
        assert!(!is_known(&HeaderMap::new(), "\"b\""));
    }
}
