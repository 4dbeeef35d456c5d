//! Turns the script's value into the contract's response.

use std::mem::ManuallyDrop;

use picloud_shared::execution::HttpResponse;
use rhai::{Dynamic, EvalAltResult, Map};

use crate::api::json;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const BINARY: &str = "application/octet-stream";

/// Returns the response that a script's value represents.
///
/// An object whose only keys are `status`, `headers` and `body` is a complete response. A blob is
/// the body of a 200. Any other value is the JSON body of a 200.
///
/// # Errors
/// Fails if `status` is not an integer, `headers` is not an object of texts, or the value has no
/// JSON form.
pub(crate) fn respond(value: Dynamic) -> Result<HttpResponse, Box<EvalAltResult>> {
    if value.as_map_ref().is_ok_and(|map| is_response(&map)) {
        respond_in_full(value.cast())
    } else {
        // Never freed; see `script::run`.
        respond_with(&ManuallyDrop::new(value))
    }
}

/// `#{ status: "ok" }` is returned as JSON, and `#{ status: 404 }` is a response.
fn is_response(map: &Map) -> bool {
    let known = |key: &str| matches!(key, "status" | "headers" | "body");
    !map.is_empty()
        && map.keys().all(|key| known(key))
        && (map.len() > 1 || map.get("status").is_none_or(Dynamic::is_int))
}

fn respond_with(value: &Dynamic) -> Result<HttpResponse, Box<EvalAltResult>> {
    let (body, content_type) = match value.as_blob_ref() {
        Ok(blob) => (blob.to_vec(), BINARY),
        Err(_) => (json::to_bytes(value)?, JSON),
    };
    Ok(HttpResponse {
        status: 200,
        headers: Vec::new(),
        body,
        content_type: content_type.to_owned(),
    })
}

fn respond_in_full(mut map: Map) -> Result<HttpResponse, Box<EvalAltResult>> {
    let status = match map.remove("status") {
        None => 200,
        Some(status) => status
            .as_int()
            .map_err(|kind| format!("the response's status must be an integer, not {kind}"))?,
    };
    let headers = match map.remove("headers") {
        None => Vec::new(),
        Some(headers) => response_headers(headers)?,
    };
    let body = map.remove("body").unwrap_or(Dynamic::UNIT);
    let (body, content_type) = if body.is_unit() {
        (Vec::new(), "")
    } else if let Ok(text) = body.as_immutable_string_ref() {
        (text.as_bytes().to_vec(), TEXT)
    } else if let Ok(blob) = body.as_blob_ref() {
        (blob.to_vec(), BINARY)
    } else {
        (json::to_bytes(&body)?, JSON)
    };
    Ok(HttpResponse { status, headers, body, content_type: content_type.to_owned() })
}

/// Each value is a string, a number or a boolean. An array sends the header more than once.
fn response_headers(headers: Dynamic) -> Result<Vec<(String, String)>, Box<EvalAltResult>> {
    let kind = headers.type_name();
    let headers = headers
        .try_cast::<Map>()
        .ok_or_else(|| format!("the response's headers must be an object, not {kind}"))?;
    let mut list = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        if value.is_array() {
            for value in value.into_array().unwrap_or_default() {
                list.push((name.to_string(), header_value(&name, &value)?));
            }
        } else {
            list.push((name.to_string(), header_value(&name, &value)?));
        }
    }
    Ok(list)
}

fn header_value(name: &str, value: &Dynamic) -> Result<String, Box<EvalAltResult>> {
    if value.is_string() || value.is_int() || value.is_float() || value.is_bool() {
        Ok(value.to_string())
    } else {
        let kind = value.type_name();
        Err(format!("the value of the response header {name:?} must be a text, not {kind}").into())
    }
}
