//! The rules for names of apps, scripts and domains.
//!
//! Invariant: the name of an app or a script can be used in a URL without encoding.

use crate::error::{Error, Refusal, Result};
use crate::hostname::Hostname;

/// The longest name of an app or a script, in characters: the length of a DNS label.
const NAME_CHARS_MAX: usize = 63;
/// The patterns of app names and script names.
pub(super) const APP_NAME: &str = "^[a-z][a-z0-9-]{0,62}$";
pub(super) const SCRIPT_NAME: &str = "^[a-z][a-z0-9_-]{0,62}$";
/// The longest description, in characters.
pub(super) const DESCRIPTION_CHARS_MAX: usize = 4096;
/// The longest host name and the longest of its labels (RFC 1035, section 2.3.4).
const HOST_CHARS_MAX: usize = 253;
const LABEL_CHARS_MAX: usize = 63;

/// Checks an app's name: 1 to 63 lower-case letters, digits and dashes, a letter first.
///
/// # Errors
/// `Invalid`, field `name`.
pub fn check_app_name(name: &str) -> Result<()> {
    check_name(name, b"-", "lower-case letters, digits and `-`")
}

/// Checks a script's name: like the name of an app, and `_` is allowed too.
///
/// # Errors
/// `Invalid`, field `name`.
pub fn check_script_name(name: &str) -> Result<()> {
    check_name(name, b"-_", "lower-case letters, digits, `-` and `_`")
}

fn check_name(name: &str, marks: &[u8], allowed: &str) -> Result<()> {
    let starts_well = name.starts_with(|first: char| first.is_ascii_lowercase());
    let fits = name.len() <= NAME_CHARS_MAX
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || marks.contains(&byte)
        });
    if starts_well && fits {
        return Ok(());
    }
    let reason = format!("must be 1 to {NAME_CHARS_MAX} {allowed}, a letter first");
    Err(Error::Invalid(Refusal::field("name", &reason)))
}

/// Checks a description: at most 4096 characters.
///
/// # Errors
/// `Invalid`, field `description`.
pub fn check_description(description: &str) -> Result<()> {
    if description.chars().count() <= DESCRIPTION_CHARS_MAX {
        return Ok(());
    }
    let reason = format!("must be at most {DESCRIPTION_CHARS_MAX} characters");
    Err(Error::Invalid(Refusal::field("description", &reason)))
}

/// Returns the normal form of a DNS name, see [`Hostname`].
///
/// # Errors
/// `Invalid`, field `host`, for anything else, such as a port, an IP address or a wildcard.
pub fn check_host(given: &str) -> Result<Hostname> {
    let host = Hostname::parse(given).ok().filter(|_| !given.contains(':'));
    let is_label = |label: &str| {
        (1..=LABEL_CHARS_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_dns_name = |name: &str| name.len() <= HOST_CHARS_MAX && name.split('.').all(is_label);
    host.filter(|host| host.name().is_some_and(is_dns_name)).ok_or_else(|| {
        let reason = "must be a DNS name like shop.example.org, without a port";
        Error::Invalid(Refusal::field("host", reason))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fit_for_a_url() {
        let longest = "a".repeat(63);
        for name in ["a", "shop", "shop-2", "a-", longest.as_str()] {
            assert!(check_app_name(name).is_ok(), "{name}");
            assert!(check_script_name(name).is_ok(), "{name}");
        }
        let too_long = "a".repeat(64);
        for name in ["", "2shop", "-shop", "Shop", "a b", "a/b", "ä", "a.b", "a%", &too_long] {
            assert!(check_app_name(name).is_err(), "{name}");
            assert!(check_script_name(name).is_err(), "{name}");
        }
        assert!(check_app_name("a_b").is_err() && check_script_name("a_b").is_ok());
        assert!(check_script_name("_b").is_err());
    }

    #[test]
    fn a_host_is_a_dns_name_in_lower_case() {
        let label = "a".repeat(63);
        for (given, normal) in [
            ("Example.ORG", "example.org"),
            ("example.org.", "example.org"),
            ("localhost", "localhost"),
            ("xn--kse-qla.example", "xn--kse-qla.example"),
            ("Käse.example", "xn--kse-qla.example"),
            (" example.org\n", "example.org"),
            ("1.example", "1.example"),
            (label.as_str(), label.as_str()),
        ] {
            assert_eq!(check_host(given).unwrap().to_string(), normal);
        }
        let long_label = "a".repeat(64);
        let long_name = format!("{}a", "a.".repeat(127));
        for wrong in [
            "",
            ".",
            "a..b",
            "-a.b",
            "a-.b",
            "a_b",
            "xn--a.example",
            "example.org:80",
            "example.org:",
            "1.0x7f",
            "127.0.0.1",
            "::1",
            "*.example.org",
            "https://example.org",
            "a b",
            &long_label,
            &long_name,
        ] {
            assert!(check_host(wrong).is_err(), "{wrong}");
        }
    }
}
