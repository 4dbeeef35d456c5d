//! `http::*`: outbound HTTP requests.
//!
//! `message` converts values to headers and bodies, and back.

mod message;

use picloud_shared::calls::http::Send;
use rhai::Map;
use rhai::plugin::*;

use self::message::{CONTENT_TYPE, answer, content, headers};
use super::options::Options;
use crate::host;

/// Sends a request. `body` is a parameter of some functions and an option of the others.
fn send(
    context: &NativeCallContext<'_>,
    function: &'static str,
    method: &str,
    url: &str,
    body: Option<&Dynamic>,
    options: Map,
) -> Result<Map, Box<EvalAltResult>> {
    let mut options = Options::of(function, options);
    let mut headers = headers(function, options.object("headers")?.unwrap_or_default())?;
    let (body, content_type) = match body {
        Some(body) => content(body)?,
        None => content(&options.value("body").unwrap_or(Dynamic::UNIT))?,
    };
    let timeout_ms = options.number("timeout", 1)?;
    let redirects = options.number("redirects", 0)?;
    let idempotency_key = options.flag("idempotency_key")?;
    options.end()?;
    if let Some(content_type) = content_type
        && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE))
    {
        headers.push((CONTENT_TYPE.to_owned(), content_type.to_owned()));
    }
    let method = method.to_ascii_uppercase();
    let url = url.to_owned();
    let request = Send { method, url, headers, body, timeout_ms, redirects, idempotency_key };
    answer(host::call(context, &request)?)
}

#[export_module]
pub(crate) mod functions {
    use rhai::NativeCallContext;

    /// Sends a GET request. Returns the response, `#{ status, headers, body }`.
    #[rhai_fn(return_raw)]
    pub fn get(context: NativeCallContext<'_>, url: &str) -> Result<Map, Box<EvalAltResult>> {
        send(&context, "http::get", "GET", url, None, Map::new())
    }

    /// Sends a GET request with options: `headers`, an object; `body`; `timeout` in milliseconds;
    /// `redirects`, the maximum number to follow, 0 to 10; `idempotency_key`, true to send one.
    #[rhai_fn(return_raw, name = "get")]
    pub fn get_with(
        context: NativeCallContext<'_>,
        url: &str,
        options: Map,
    ) -> Result<Map, Box<EvalAltResult>> {
        send(&context, "http::get", "GET", url, None, options)
    }

    /// Sends a HEAD request.
    #[rhai_fn(return_raw)]
    pub fn head(context: NativeCallContext<'_>, url: &str) -> Result<Map, Box<EvalAltResult>> {
        send(&context, "http::head", "HEAD", url, None, Map::new())
    }

    /// Sends a HEAD request with options; see `http::get`.
    #[rhai_fn(return_raw, name = "head")]
    pub fn head_with(
        context: NativeCallContext<'_>,
        url: &str,
        options: Map,
    ) -> Result<Map, Box<EvalAltResult>> {
        send(&context, "http::head", "HEAD", url, None, options)
    }

    /// Sends a DELETE request.
    #[rhai_fn(return_raw)]
    pub fn delete(context: NativeCallContext<'_>, url: &str) -> Result<Map, Box<EvalAltResult>> {
        send(&context, "http::delete", "DELETE", url, None, Map::new())
    }

    /// Sends a DELETE request with options; see `http::get`.
    #[rhai_fn(return_raw, name = "delete")]
    pub fn delete_with(
        context: NativeCallContext<'_>,
        url: &str,
        options: Map,
    ) -> Result<Map, Box<EvalAltResult>> {
        send(&context, "http::delete", "DELETE", url, None, options)
    }

    /// Sends a POST request. A text is sent as text, a blob as its bytes, `()` as an empty body,
    /// and any other value as JSON.
    #[rhai_fn(return_raw)]
    pub fn post(
        context: NativeCallContext<'_>,
        url: &str,
        body: Dynamic,
    ) -> Result<Map, Box<EvalAltResult>> {
        send(&context, "http::post", "POST", url, Some(&body), Map::new())
    }

    /// Sends a POST request with options: `headers`, an object; `timeout` in milliseconds;
    /// `redirects`, the maximum number to follow, 0 to 10; `idempotency_key`, true to send one.
    #[rhai_fn(return_raw, name = "post")]
    pub fn post_with(
        context: NativeCallContext<'_>,
        url: &str,
        body: Dynamic,
        options: Map,
    ) -> Result<Map, Box<EvalAltResult>> {
        send(&context, "http::post", "POST", url, Some(&body), options)
    }

    /// Sends a PUT request; see `http::post`.
    #[rhai_fn(return_raw)]
    pub fn put(
        context: NativeCallContext<'_>,
        url: &str,
        body: Dynamic,
    ) -> Result<Map, Box<EvalAltResult>> {
        send(&context, "http::put", "PUT", url, Some(&body), Map::new())
    }

    /// Sends a PUT request with options; see `http::post`.
    #[rhai_fn(return_raw, name = "put")]
    pub fn put_with(
        context: NativeCallContext<'_>,
        url: &str,
        body: Dynamic,
        options: Map,
    ) -> Result<Map, Box<EvalAltResult>> {
        send(&context, "http::put", "PUT", url, Some(&body), options)
    }

    /// Sends a PATCH request; see `http::post`.
    #[rhai_fn(return_raw)]
    pub fn patch(
        context: NativeCallContext<'_>,
        url: &str,
        body: Dynamic,
    ) -> Result<Map, Box<EvalAltResult>> {
        send(&context, "http::patch", "PATCH", url, Some(&body), Map::new())
    }

    /// Sends a PATCH request with options; see `http::post`.
    #[rhai_fn(return_raw, name = "patch")]
    pub fn patch_with(
        context: NativeCallContext<'_>,
        url: &str,
        body: Dynamic,
        options: Map,
    ) -> Result<Map, Box<EvalAltResult>> {
        send(&context, "http::patch", "PATCH", url, Some(&body), options)
    }

    /// Sends a request with any method.
    #[rhai_fn(return_raw)]
    pub fn request(
        context: NativeCallContext<'_>,
        method: &str,
        url: &str,
    ) -> Result<Map, Box<EvalAltResult>> {
        send(&context, "http::request", method, url, None, Map::new())
    }

    /// Sends a request with any method and options; see `http::get`.
    #[rhai_fn(return_raw, name = "request")]
    pub fn request_with(
        context: NativeCallContext<'_>,
        method: &str,
        url: &str,
        options: Map,
    ) -> Result<Map, Box<EvalAltResult>> {
        send(&context, "http::request", method, url, None, options)
    }
}
