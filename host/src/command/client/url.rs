//! Names and values in URLs.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use super::describe;
use crate::command::Failure;

/// The characters that a URL does not encode (RFC 3986, unreserved).
const IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Encodes a name for a path or a query.
pub(in crate::command) fn encode(name: &str) -> String {
    utf8_percent_encode(name, IN_URL).to_string()
}

/// Formats the parameters that are given, to be appended to a query.
pub(in crate::command) fn query(parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    given.map(|(name, value)| format!("&{name}={}", encode(value))).collect()
}

/// Parses a URL whose path must be sent as it is. Refuses a path segment that is `.` or `..` in any
/// encoding: the URL would then name another resource.
pub(super) fn exact(text: &str) -> Result<Url, Failure> {
    let url = Url::parse(text).map_err(|error| Failure::new(describe(&error)))?;
    let path = text.split_once('?').map_or(text, |(path, _)| path);
    if !path.ends_with(url.path()) {
        return Err(Failure::new(
            "a name that is `.` or `..` cannot be a part of a URL; use a script to read or change it",
        ));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_sent_as_it_is_or_not_at_all() {
        let of = |path: &str| exact(&format!("http://127.0.0.1:8080/api/v1{path}")).is_ok();
        let name = |name: &str| format!("/apps/demo/kv/{}/key?limit=1", encode(name));
        for sent in ["c", "...", "a/../b", "%2e%2e", "ü", " ", "?x", "#x", "~"] {
            assert!(of(&name(sent)), "{sent}");
        }
        for folded in [".", ".."] {
            assert!(!of(&name(folded)), "{folded}");
            assert!(!of(&format!("/apps/demo/kv/c/{}", encode(folded))), "{folded}");
            assert!(!of(&format!("/apps/demo/kv/{}", encode(folded))), "{folded}");
        }
    }

    #[test]
    fn a_query_has_the_given_parameters() {
        assert_eq!(query(&[("kind", Some("kv")), ("source", None)]), "&kind=kv");
        assert_eq!(query(&[("source", Some("a&b:*"))]), "&source=a%26b%3A%2A");
    }
}
