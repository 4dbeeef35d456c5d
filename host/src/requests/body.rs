//! The form in which a script sees the body of a request.
//!
//! Invariant: a body shown as JSON parses, and a body shown as text is UTF-8; the guest relies on
//! this.

use picloud_shared::execution::BodyKind;

use super::form::{self, Form, FormLimits};
use super::{charset, media_type};
use crate::json;

/// The interpretation of a body, in addition to its bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// How `ctx.request.body` is built.
    pub kind: BodyKind,
    /// The text, if the charset is not UTF-8.
    pub text: Option<String>,
    /// The fields and files, if it is a form.
    pub form: Form,
}

/// The body does not match its type.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body is not JSON, or the JSON is nested too deep.
    #[error("the body is not valid JSON: {0}")]
    Json(serde_json::Error),
    /// The body is not a form, or the form is too large.
    #[error(transparent)]
    Form(#[from] form::Error),
}

/// Returns the shape of a body of this type.
///
/// # Errors
/// `Json`, `Form`.
pub async fn shape(content_type: &str, body: &[u8], limits: &FormLimits) -> Result<Shape, Error> {
    if body.is_empty() {
        return Ok(Shape::default());
    }
    let essence = media_type::essence(content_type);
    if media_type::is_json(&essence) {
        json::check_well_formed(body).map_err(Error::Json)?;
        return Ok(Shape { kind: BodyKind::Json, ..Shape::default() });
    }
    let form = form::read(content_type, body, limits).await?.unwrap_or_default();
    if !media_type::is_text(&essence) {
        return Ok(Shape { kind: BodyKind::Binary, form, ..Shape::default() });
    }
    let text = foreign_text(content_type, body);
    let is_utf8 = || {
        let charset = media_type::parameter(content_type, "charset");
        charset.is_none_or(charset::is_utf8) && std::str::from_utf8(body).is_ok()
    };
    let kind = if text.is_some() || is_utf8() { BodyKind::Text } else { BodyKind::Binary };
    Ok(Shape { kind, text, form })
}

/// Returns the text of a body of a text type with a charset other than UTF-8; `None` for other
/// bodies, and if the body is not valid in that charset.
#[must_use]
pub fn foreign_text(content_type: &str, body: &[u8]) -> Option<String> {
    let is_text = media_type::is_text(&media_type::essence(content_type));
    if is_text { charset::decode(content_type, body) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn kind(content_type: &str, body: &[u8]) -> Option<BodyKind> {
        let shape = shape(content_type, body, &FormLimits::default()).await;
        shape.ok().map(|shape| shape.kind)
    }

    #[tokio::test]
    async fn a_body_is_what_its_type_and_its_bytes_say() {
        for (content_type, body, expected) in [
            ("application/json", &b"{\"a\":1}"[..], BodyKind::Json),
            ("Application/JSON; charset=utf-8", b"1", BodyKind::Json),
            ("application/problem+json", b"[]", BodyKind::Json),
            ("application/json", b"\xef\xbb\xbf{}", BodyKind::Json),
            ("application/json", b"", BodyKind::Empty),
            ("text/plain", "grün".as_bytes(), BodyKind::Text),
            ("text/plain", b"\xef\xbb\xbfa", BodyKind::Text),
            ("text/plain; charset=UTF8", b"a", BodyKind::Text),
            ("text/plain", b"\xff", BodyKind::Binary),
            ("text/plain; charset=latin1", b"\xff", BodyKind::Text),
            ("text/plain; charset=klingon", b"a", BodyKind::Binary),
            ("application/x-www-form-urlencoded", b"a=b", BodyKind::Text),
            ("image/png", b"abc", BodyKind::Binary),
            ("", b"abc", BodyKind::Binary),
        ] {
            assert_eq!(kind(content_type, body).await, Some(expected), "{content_type} {body:?}");
        }
    }

    #[tokio::test]
    async fn what_the_guest_could_not_read_is_refused_before_it_runs() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(kind("application/json", deep(127).as_bytes()).await, Some(BodyKind::Json));
        assert_eq!(kind("application/json", deep(128).as_bytes()).await, None);
        for body in ["{", "{\"a\":}", "nul", "1 2", "1e999", "\"\\ud800\"", "[1,]", "\u{feff}"] {
            assert_eq!(kind("application/json", body.as_bytes()).await, None, "{body}");
        }
    }
}
