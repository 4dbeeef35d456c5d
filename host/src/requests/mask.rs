//! Masks credentials in a request or a response, by their names. Pure.
//!
//! Invariant: all other bytes stay unchanged.

use std::borrow::Cow;

use memchr::memmem;
use percent_encoding::percent_decode_str;

use super::media_type;
use crate::secrets::{MASK, is_credential};

/// The headers that hold a URL, whose query can contain credentials.
const ADDRESSES: [&str; 7] = [
    "content-location",
    "location",
    "referer",
    "refresh",
    "x-forwarded-uri",
    "x-original-uri",
    "x-original-url",
];

/// Returns a header's value with credentials masked.
#[must_use]
pub fn header<'v>(name: &str, value: &'v str) -> Cow<'v, str> {
    if is_credential(name) {
        return Cow::Borrowed(MASK);
    }
    if ADDRESSES.iter().any(|address| name.eq_ignore_ascii_case(address)) {
        return address(value);
    }
    Cow::Borrowed(value)
}

/// Returns the value of a query, path or form parameter, masked if it is a credential.
#[must_use]
pub fn parameter<'v>(name: &str, value: &'v str) -> &'v str {
    if is_credential(name) { MASK } else { value }
}

/// Returns a query with credentials masked, otherwise as received.
#[must_use]
pub fn query(query: &str) -> Cow<'_, str> {
    match pairs(query.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(query),
        Cow::Owned(shown) => Cow::Owned(String::from_utf8_lossy(&shown).into_owned()),
    }
}

/// Returns a path without the segments that match a credential among its parameters.
#[must_use]
pub fn path<'p>(path: &'p str, params: &[(String, String)]) -> Cow<'p, str> {
    let secret: Vec<&str> = params
        .iter()
        .filter(|(name, value)| is_credential(name) && !value.is_empty())
        .flat_map(|(_, value)| value.split('/'))
        .filter(|segment| !segment.is_empty())
        .collect();
    if secret.is_empty() {
        return Cow::Borrowed(path);
    }
    let is_secret = |segment: &str| {
        let decoded = percent_decode_str(segment).decode_utf8_lossy();
        secret.iter().any(|secret| *secret == decoded || decoded.split('/').any(|s| s == *secret))
    };
    let segments = path.split('/').map(|part| if is_secret(part) { MASK } else { part });
    Cow::Owned(segments.collect::<Vec<_>>().join("/"))
}

/// Returns a body with the credentials in form fields masked.
#[must_use]
pub fn body<'b>(content_type: &str, body: &'b [u8]) -> Cow<'b, [u8]> {
    if is_form(content_type) {
        return pairs(body);
    }
    if media_type::essence(content_type) == "multipart/form-data" {
        let boundary = media_type::parameter(content_type, "boundary");
        let shown = boundary.and_then(|boundary| multipart(boundary, body));
        return shown.unwrap_or_else(|| Cow::Owned(MASK.as_bytes().to_vec()));
    }
    Cow::Borrowed(body)
}

/// Whether a body of this type is a URL-encoded form.
fn is_form(content_type: &str) -> bool {
    media_type::essence(content_type) == "application/x-www-form-urlencoded"
}

/// Masks a URL: its query, and its fragment if it has the form of a query.
fn address(value: &str) -> Cow<'_, str> {
    let Some(begin) = value.find(['?', '#']) else { return Cow::Borrowed(value) };
    let mut shown = value[..begin].to_owned();
    for part in value[begin..].split_inclusive(['?', '#', '&', ';']) {
        let (part, separator) = match part.char_indices().next_back() {
            Some((at, last)) if "?#&;".contains(last) => part.split_at(at),
            _ => (part, ""),
        };
        shown.push_str(&String::from_utf8_lossy(&pair(part.as_bytes())));
        shown.push_str(separator);
    }
    if shown == value { Cow::Borrowed(value) } else { Cow::Owned(shown) }
}

/// Masks credentials in a URL-encoded form such as `a=1&password=x` (URL Standard, section 5.1).
fn pairs(form: &[u8]) -> Cow<'_, [u8]> {
    let shown: Vec<_> = form.split(|byte| *byte == b'&').map(pair).collect();
    if shown.iter().all(|pair| matches!(pair, Cow::Borrowed(_))) {
        return Cow::Borrowed(form);
    }
    Cow::Owned(shown.join(&b"&"[..]))
}

fn pair(pair: &[u8]) -> Cow<'_, [u8]> {
    let Some(equals) = pair.iter().position(|byte| *byte == b'=') else {
        return Cow::Borrowed(pair);
    };
    let named = form_urlencoded::parse(&pair[..equals]).next();
    let is_secret = named.is_some_and(|(name, _)| is_credential(&name));
    if !is_secret || equals + 1 == pair.len() {
        return Cow::Borrowed(pair);
    }
    Cow::Owned([&pair[..=equals], MASK.as_bytes()].concat())
}

/// Masks the parts of a form (RFC 7578), each after a line with the boundary; `None` if it is
/// written in another way. Form parsers are lenient in different ways, so the script could read a
/// different field name than this code.
fn multipart<'b>(boundary: &str, body: &'b [u8]) -> Option<Cow<'b, [u8]>> {
    let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
    let mut rest = body.strip_prefix(&delimiter[2..])?;
    let mut shown = delimiter[2..].to_vec();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let head = memmem::find(part, b"\r\n\r\n")?;
        let name = field_name(str::from_utf8(&part[..head]).ok()?)?;
        let (head, content) = part.split_at(head + 4);
        let end = memmem::find(content, &delimiter)?;
        let content_shown = if is_credential(name) { MASK.as_bytes() } else { &content[..end] };
        for piece in [b"\r\n", head, content_shown, &delimiter] {
            shown.extend_from_slice(piece);
        }
        rest = &content[end + delimiter.len()..];
    }
    if !matches!(rest, b"--" | b"--\r\n") {
        return None;
    }
    shown.extend_from_slice(rest);
    Some(if shown == body { Cow::Borrowed(body) } else { Cow::Owned(shown) })
}

/// Returns the `name` of a part's only `Content-Disposition`, if it is written as browsers do.
fn field_name(head: &str) -> Option<&str> {
    let fields = head.split("\r\n").map(|line| line.split_once(':'));
    let mut dispositions = Vec::new();
    for field in fields {
        let (name, value) = field?;
        if name.eq_ignore_ascii_case("content-disposition") {
            dispositions.push(value.trim());
        } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return None;
        }
    }
    let [disposition] = dispositions[..] else { return None };
    let (name, rest) = disposition.strip_prefix("form-data; name=\"")?.split_once('"')?;
    let is_plain = |text: &str| !text.contains(['\\', '%', '\r', '\n']);
    let file_name = |rest: &str| {
        let name = rest.strip_prefix("; filename=\"")?.strip_suffix('"')?;
        (!name.contains(['"', '\\', '\r', '\n'])).then_some(())
    };
    (is_plain(name) && (rest.is_empty() || file_name(rest).is_some())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_shows_no_credential_also_not_in_an_address() {
        for (name, value, shown) in [
            ("authorization", "Bearer abc", "***"),
            ("accept", "text/html", "text/html"),
            ("idempotency-key", "k-1", "k-1"),
            ("referer", "https://a.example/p?q=1&token=abc", "https://a.example/p?q=1&token=***"),
            ("location", "/done#access_token=abc&state=1", "/done#access_token=***&state=1"),
            ("location", "/done?a=1", "/done?a=1"),
            ("refresh", "0; url=/x?password=a;b=1", "0; url=/x?password=***;b=1"),
            ("x-note", "/x?token=abc", "/x?token=abc"),
        ] {
            assert_eq!(header(name, value), shown, "{name}");
        }
    }

    #[test]
    fn a_form_shows_its_other_fields_as_they_are() {
        let form = |text: &str| {
            let masked = body("application/x-www-form-urlencoded; charset=utf-8", text.as_bytes());
            String::from_utf8(masked.into_owned()).unwrap()
        };
        assert_eq!(form("user=ada&password=p%26w&x=%zz"), "user=ada&password=***&x=%zz");
        assert_eq!(form("pass%77ord=a&user%5Btoken%5D=b"), "pass%77ord=***&user%5Btoken%5D=***");
        assert_eq!(form("password=&password"), "password=&password");
        assert_eq!(form(""), "");
        assert_eq!(body("application/json", b"password=a"), &b"password=a"[..]);
    }

    #[test]
    fn a_form_of_several_parts_shows_its_other_parts_as_they_are() {
        let part = |name: &str, content: &str| {
            format!("--b1\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
        };
        let end = "--b1--\r\n".to_owned();
        let form = [part("user", "ada"), part("api_key", "a\r\nb"), part("x", "1"), end.clone()];
        let form = form.concat();
        let masked = body("multipart/form-data; boundary=\"b1\"", form.as_bytes()).into_owned();
        let masked = String::from_utf8(masked).unwrap();
        let shown = [part("user", "ada"), part("api_key", "***"), part("x", "1"), end].concat();
        assert_eq!(masked, shown);
    }

    #[test]
    fn a_form_that_readers_may_understand_in_several_ways_is_not_shown() {
        let form = |head: &str| format!("--b1\r\n{head}\r\n\r\nabc\r\n--b1--\r\n");
        let plain = form("Content-Disposition: form-data; name=\"user\"; filename=\"a;b.txt\"");
        let masked = |content_type: &str, form: &str| {
            String::from_utf8(body(content_type, form.as_bytes()).into_owned()).unwrap()
        };
        let content_type = "multipart/form-data; boundary=b1";
        assert_eq!(masked(content_type, &plain), plain);
        for head in [
            "Content-Disposition: form-data; name=password",
            "Content-Disposition: form-data; name='password'",
            "Content-Disposition: form-data; name=\"pass\\word\"",
            "Content-Disposition: form-data; name=\"pass%77ord\"",
            "Content-Disposition: form-data; x=\";name=a;\"; name=\"password\"",
            "Content-Disposition: form-data; name=\"a\"; name=\"password\"",
            "Content-Disposition: form-data; name=\"a\"; name*=utf-8''password",
            "Content-Disposition: form-data; filename=\"a\"; name=\"password\"",
            "Content-Disposition:\r\n form-data; name=\"password\"",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; \
             name=\"password\"",
            "Content-Disposition : form-data; name=\"password\"\r\nContent-Disposition: form-data; \
             name=\"a\"",
            "Content-Type: text/plain",
        ] {
            assert_eq!(masked(content_type, &form(head)), MASK, "{head}");
        }
        for wrong in [
            plain.replace("\r\n", "\n"),
            plain.replace("--b1--", ""),
            format!("preamble\r\n{plain}"),
            format!("{plain}epilogue"),
            plain.replacen("--b1", "--b1 ", 1),
            "abc".to_owned(),
        ] {
            assert_eq!(masked(content_type, &wrong), MASK, "{wrong}");
        }
        assert_eq!(masked("multipart/form-data", &plain), MASK);
    }

    #[test]
    fn a_path_shows_no_parameter_that_is_a_credential() {
        let params = [("id".to_owned(), "7".to_owned()), ("token".to_owned(), "a b".to_owned())];
        assert_eq!(path("/x/shop/7/a%20b", &params), "/x/shop/7/***");
        assert_eq!(path("/x/shop/7/a%20b", &params[..1]), "/x/shop/7/a%20b");
        let rest = [("key".to_owned(), "a/b".to_owned())];
        assert_eq!(path("/x/shop/a/b", &rest), "/x/shop/***/***");
    }
}
