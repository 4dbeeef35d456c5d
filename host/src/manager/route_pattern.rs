//! The path pattern of a route.
//!
//! ```text
//! pattern   "/" | ( "/" segment )+
//! segment   static | "{" name "}" | "{*" name "}"    the last kind only at the end
//! static    what RFC 3986 allows in a path segment; percent-encoding is normalised
//! ```
//!
//! Invariant: two patterns that match the same paths have the same shape. Static segments are
//! stored in their normal form: unneeded encoding is removed, and hexadecimal digits are upper case
//! (RFC 3986, section 6.2.2).

use std::fmt::Write;

/// The longest pattern, in bytes, as given and in its normal form.
pub const PATTERN_BYTES_MAX: usize = 512;

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePattern {
    /// The pattern in its normal form.
    pub path: String,
    /// The pattern without parameter names: `/users/{}`, `/files/{*}`.
    pub shape: String,
}

impl RoutePattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// The reason why the pattern is not valid, worded to follow "path" in a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(too_long());
        }
        let rest = text.strip_prefix('/').ok_or("must start with `/`")?;
        let mut pattern = Self { path: String::new(), shape: String::new() };
        let mut names: Vec<&str> = Vec::new();
        // "/" alone has no segment.
        let mut segments = rest.split('/').skip(usize::from(rest.is_empty())).peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            match parameter(segment)? {
                None => {
                    let normal = normalise(segment)?;
                    push(&mut pattern.path, &normal);
                    push(&mut pattern.shape, &normal);
                }
                Some((name, _)) if names.contains(&name) => {
                    return Err(format!("has the parameter `{name}` twice"));
                }
                Some((name, true)) if !is_last => {
                    return Err(format!("must end with `{{*{name}}}`, which takes the rest"));
                }
                Some((name, takes_rest)) => {
                    names.push(name);
                    push(&mut pattern.path, segment);
                    push(&mut pattern.shape, if takes_rest { "{*}" } else { "{}" });
                }
            }
        }
        if pattern.path.is_empty() {
            pattern = Self { path: "/".to_owned(), shape: "/".to_owned() };
        }
        if pattern.path.len() > PATTERN_BYTES_MAX { Err(too_long()) } else { Ok(pattern) }
    }

    /// Returns the segment of a pattern that consists of one static segment.
    #[must_use]
    pub fn only_static_segment(&self) -> Option<&str> {
        let segment = self.path.strip_prefix('/')?;
        let is_one = !segment.is_empty() && !segment.contains(['/', '{']);
        is_one.then_some(segment)
    }
}

fn too_long() -> String {
    format!("is longer than {PATTERN_BYTES_MAX} bytes")
}

fn push(path: &mut String, segment: &str) {
    path.push('/');
    path.push_str(segment);
}

/// Returns the parameter's name, and whether it takes the rest of the path; `None` for a static
/// segment.
fn parameter(segment: &str) -> Result<Option<(&str, bool)>, String> {
    if !segment.contains(['{', '}']) {
        return Ok(None);
    }
    let name = segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(|| format!("has `{segment}`: a parameter is a whole segment, as `{{name}}`"))?;
    let (name, takes_rest) = match name.strip_prefix('*') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts_well && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        Ok(Some((name, takes_rest)))
    } else {
        Err(format!(
            "has `{segment}`: a parameter's name has letters, digits and `_`, and does not start with a digit"
        ))
    }
}

/// Returns the normal form of a static segment.
fn normalise(segment: &str) -> Result<String, String> {
    if segment.is_empty() {
        return Err("must not have an empty segment: no `//`, no `/` at the end".to_owned());
    }
    let mut normal = String::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let (byte, was_encoded) = if byte == b'%' {
            let digits = [bytes.next(), bytes.next()].map(|digit| digit.and_then(hex_digit));
            let [Some(high), Some(low)] = digits else {
                return Err(format!("has `{segment}`: `%` needs two hexadecimal digits"));
            };
            (high << 4 | low, true)
        } else {
            (byte, false)
        };
        let reserved = b"!$&'()*+,;=:@".contains(&byte);
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (reserved && !was_encoded) {
            normal.push(byte.into());
        } else if !was_encoded && (b"?#".contains(&byte) || byte.is_ascii_control()) {
            return Err(format!("has {:?}, which is not allowed in a path", char::from(byte)));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(normal, "%{byte:02X}");
        }
    }
    if matches!(normal.as_str(), "." | "..") {
        return Err("must not have the segments `.` and `..`".to_owned());
    }
    Ok(normal)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_a_normal_form_and_a_shape() {
        let table = [
            ("/", "/", "/"),
            ("/users", "/users", "/users"),
            ("/users/{id}", "/users/{id}", "/users/{}"),
            ("/users/{user_id}/posts/{id2}", "/users/{user_id}/posts/{id2}", "/users/{}/posts/{}"),
            ("/files/{*rest}", "/files/{*rest}", "/files/{*}"),
            ("/{*rest}", "/{*rest}", "/{*}"),
            ("/%75sers", "/users", "/users"),
            ("/a%2fb", "/a%2Fb", "/a%2Fb"),
            ("/a b", "/a%20b", "/a%20b"),
            ("/käse", "/k%C3%A4se", "/k%C3%A4se"),
            ("/a:b@c,d;e=f", "/a:b@c,d;e=f", "/a:b@c,d;e=f"),
            ("/a%3Ab", "/a%3Ab", "/a%3Ab"),
            ("/v1.0/~me", "/v1.0/~me", "/v1.0/~me"),
            ("/%7Bid%7D", "/%7Bid%7D", "/%7Bid%7D"),
        ];
        for (given, path, shape) in table {
            let pattern = RoutePattern::parse(given).unwrap();
            assert_eq!((pattern.path.as_str(), pattern.shape.as_str()), (path, shape), "{given}");
            assert_eq!(RoutePattern::parse(path), Ok(pattern), "the normal form is its own");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_the_reason() {
        let long = format!("/{}", "a".repeat(PATTERN_BYTES_MAX));
        let long_when_encoded = format!("/{}", "ä".repeat(PATTERN_BYTES_MAX / 4));
        let table = [
            ("", "start with"),
            ("users", "start with"),
            ("//", "empty segment"),
            ("/users/", "empty segment"),
            ("/a//b", "empty segment"),
            ("/a?b", "'?'"),
            ("/a#b", "'#'"),
            ("/a\nb", "'\\n'"),
            ("/a%2", "hexadecimal"),
            ("/a%zz", "hexadecimal"),
            ("/a%é1", "hexadecimal"),
            ("/../etc", "`.` and `..`"),
            ("/%2e%2E/etc", "`.` and `..`"),
            ("/{id}/{id}", "`id` twice"),
            ("/{*rest}/more", "must end with"),
            ("/user-{id}", "whole segment"),
            ("/{id}.json", "whole segment"),
            ("/{id", "whole segment"),
            ("/id}", "whole segment"),
            ("/{}", "letters"),
            ("/{*}", "letters"),
            ("/{1a}", "letters"),
            ("/{a-b}", "letters"),
            ("/{{a}}", "letters"),
            (&long, "longer than 512"),
            (&long_when_encoded, "longer than 512"),
        ];
        for (given, reason) in table {
            let refused = RoutePattern::parse(given).unwrap_err();
            assert!(refused.contains(reason), "{given}: {refused}");
        }
    }

    #[test]
    fn a_single_static_segment_is_told_from_the_rest() {
        let only =
            |path| RoutePattern::parse(path).unwrap().only_static_segment().map(str::to_owned);
        assert_eq!(only("/hello").as_deref(), Some("hello"));
        for other in ["/", "/a/b", "/{id}", "/{*rest}"] {
            assert_eq!(only(other), None, "{other}");
        }
    }
}
