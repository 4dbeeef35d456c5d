//! Converts values to the headers and body of a request, and a response to a value.

use std::collections::BTreeSet;

use picloud_shared::calls::http::Answer;
use picloud_shared::execution::without_bom;
use rhai::plugin::*;
use rhai::{Array, Map};

use super::super::json;

pub(super) const CONTENT_TYPE: &str = "content-type";

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const BINARY: &str = "application/octet-stream";

/// The only header whose values must not be joined (RFC 6265, section 3).
const SET_COOKIE: &str = "set-cookie";

/// Returns the bytes of a body and their content type; `None` without a body.
pub(super) fn content(
    body: &Dynamic,
) -> Result<(Vec<u8>, Option<&'static str>), Box<EvalAltResult>> {
    if body.is_unit() {
        Ok((Vec::new(), None))
    } else if let Ok(text) = body.as_immutable_string_ref() {
        Ok((text.as_bytes().to_vec(), Some(TEXT)))
    } else if let Ok(blob) = body.as_blob_ref() {
        Ok((blob.to_vec(), Some(BINARY)))
    } else {
        Ok((json::to_bytes(body)?, Some(JSON)))
    }
}

/// Each value is a string, a number or a boolean. An array sends the header more than once.
pub(super) fn headers(
    function: &str,
    given: Map,
) -> Result<Vec<(String, String)>, Box<EvalAltResult>> {
    let mut list = Vec::with_capacity(given.len());
    let mut names = BTreeSet::new();
    for (name, value) in given {
        if !names.insert(name.to_ascii_lowercase()) {
            let name = name.to_ascii_lowercase();
            let words = format!(
                "the header {name} of {function} is given twice; use an array to send several"
            );
            return Err(words.into());
        }
        let values = match value.flatten().try_cast_result::<Array>() {
            Ok(values) => values,
            Err(value) => vec![value],
        };
        for value in values {
            if value.is_string() || value.is_int() || value.is_float() || value.is_bool() {
                list.push((name.to_string(), value.to_string()));
            } else {
                let kind = value.type_name();
                let words = format!("the header {name:?} of {function} must be a text, not {kind}");
                return Err(words.into());
            }
        }
    }
    Ok(list)
}

/// Returns the response as a script sees it. Values of the same name are joined, except those of
/// `set-cookie`, which are an array.
pub(super) fn answer(answer: Answer) -> Result<Map, Box<EvalAltResult>> {
    let mut headers = Map::new();
    let mut content_type = None;
    let mut cookies = Array::new();
    for (name, value) in answer.headers {
        if name == SET_COOKIE {
            cookies.push(value.into());
            continue;
        }
        if name == CONTENT_TYPE {
            content_type.get_or_insert_with(|| value.clone());
        }
        let joined = match headers.remove(name.as_str()) {
            Some(before) => format!("{before}, {value}"),
            None => value,
        };
        headers.insert(name.into(), joined.into());
    }
    if !cookies.is_empty() {
        headers.insert(SET_COOKIE.into(), cookies.into());
    }
    let mut shown = Map::new();
    shown.insert("status".into(), i64::from(answer.status).into());
    shown.insert("headers".into(), Dynamic::from_map(headers));
    let body = body(content_type.as_deref(), answer.body, answer.text);
    shown.insert("body".into(), body);
    Ok(shown)
}

/// Invalid JSON is shown as text, because the other server did send it.
fn body(content_type: Option<&str>, bytes: Vec<u8>, text: Option<String>) -> Dynamic {
    if let Some(text) = text {
        return text.into();
    }
    if bytes.is_empty() {
        return Dynamic::UNIT;
    }
    let media_type = content_type.unwrap_or(TEXT).split(';').next().unwrap_or_default();
    let media_type = media_type.trim().to_ascii_lowercase();
    let is_json = media_type == JSON || media_type.ends_with("+json");
    if is_json && let Ok(value) = json::from_bytes(&bytes) {
        return value;
    }
    let is_text = is_json
        || media_type.starts_with("text/")
        || media_type.ends_with("+xml")
        || matches!(
            media_type.as_str(),
            "application/x-www-form-urlencoded" | "application/xml" | "application/javascript"
        );
    if !is_text {
        return Dynamic::from_blob(bytes);
    }
    match str::from_utf8(without_bom(&bytes)) {
        Ok(text) => text.into(),
        Err(_) => Dynamic::from_blob(bytes),
    }
}
