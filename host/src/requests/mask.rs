//! The values of credentials taken out of a request or a response, by their names. Pure.
//!
//! Invariant: what is not a credential's value stays byte for byte.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::secrets::{MASK, is_credential};

/// Headers that hold an address, whose query may hold credentials.
const ADDRESSES: [&str; 7] = [
    "content-location",
    "location",
    "referer",
    "refresh",
    "x-forwarded-uri",
    "x-original-uri",
    "x-original-url",
];

/// A header's value as it may be shown.
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

/// The value of a query parameter, a path parameter or a form field as it may be shown.
#[must_use]
pub fn parameter<'v>(name: &str, value: &'v str) -> &'v str {
    if is_credential(name) { MASK } else { value }
}

/// A path without the segments that credentials among its parameters stand for.
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

/// A body as it may be shown: the fields of a form are looked through.
#[must_use]
pub fn body<'b>(content_type: &str, body: &'b [u8]) -> Cow<'b, [u8]> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return pairs(body);
    }
    if media_type.eq_ignore_ascii_case("multipart/form-data")
        && let Some(boundary) = boundary(content_type)
    {
        return multipart(boundary.as_bytes(), body);
    }
    Cow::Borrowed(body)
}

/// An address: its query, and its fragment if that is written like one.
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

/// `a=1&password=x` (URL, section 5.1).
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

/// The parameter `boundary` of a media type (RFC 2046, section 5.1.1).
fn boundary(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').skip(1).filter_map(|part| part.split_once('='));
    let mut found = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    let (_, value) = found.next()?;
    Some(value.trim().trim_matches('"')).filter(|boundary| !boundary.is_empty())
}

/// The parts of a form (RFC 7578), each after a line with the boundary.
fn multipart<'b>(boundary: &[u8], body: &'b [u8]) -> Cow<'b, [u8]> {
    let delimiter = [&b"--"[..], boundary].concat();
    let starts: Vec<usize> = occurrences(body, &delimiter).collect();
    let mut shown = Vec::with_capacity(body.len());
    let mut done = 0;
    for (place, start) in starts.iter().enumerate() {
        let part_begin = start + delimiter.len();
        let part_end = starts.get(place + 1).copied().unwrap_or(body.len());
        let part = &body[part_begin..part_end];
        let Some(head) = occurrences(part, b"\r\n\r\n").next() else { continue };
        if !field_name(&part[..head]).is_some_and(|name| is_credential(&name)) {
            continue;
        }
        let content_begin = part_begin + head + 4;
        let ends_line = part.ends_with(b"\r\n") && part_end - 2 >= content_begin;
        let content_end = if ends_line { part_end - 2 } else { part_end };
        shown.extend_from_slice(&body[done..content_begin]);
        shown.extend_from_slice(MASK.as_bytes());
        done = content_end;
    }
    if done == 0 {
        return Cow::Borrowed(body);
    }
    shown.extend_from_slice(&body[done..]);
    Cow::Owned(shown)
}

fn occurrences<'b>(body: &'b [u8], of: &'b [u8]) -> impl Iterator<Item = usize> + 'b {
    memchr::memmem::find_iter(body, of)
}

/// The `name` of a part's `Content-Disposition`.
fn field_name(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, disposition) =
        lines.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))?;
    let mut parameters = disposition.split(';').filter_map(|part| part.split_once('='));
    let (_, name) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("name"))?;
    Some(name.trim().trim_matches('"').to_owned())
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
        let form = [part("user", "ada"), part("api_key", "a\r\nb"), part("x", "1")].concat();
        let masked = body("multipart/form-data; boundary=\"b1\"", form.as_bytes()).into_owned();
        let masked = String::from_utf8(masked).unwrap();
        assert_eq!(masked, [part("user", "ada"), part("api_key", "***"), part("x", "1")].concat());
        // One that is cut off, and one without parts.
        let cut = part("password", "abc").trim_end().to_owned();
        let masked = body("multipart/form-data; boundary=b1", cut.as_bytes()).into_owned();
        assert!(!String::from_utf8(masked).unwrap().contains("abc"));
        assert_eq!(body("multipart/form-data; boundary=b1", b"abc"), &b"abc"[..]);
        assert_eq!(body("multipart/form-data", b"abc"), &b"abc"[..]);
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
