//! The normal form in which host names are compared. Pure.
//!
//! A host comes from the header `Host`, a domain claim, a setting or the database. Each is
//! converted to the form of the URL Standard (<https://url.spec.whatwg.org/#host-parsing>), as
//! browsers do before a request: lower case, international names as `xn--`, addresses in one
//! notation. The port and a final dot are dropped.
//!
//! Invariant: no other code compares host names as text.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, Uri, header};
use url::Host;

/// The name of the local machine (RFC 6761, section 6.3).
const LOCALHOST: &str = "localhost";
/// The maximum length of a DNS name, in bytes.
const NAME_BYTES_MAX: usize = 253;

/// A host in its normal form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hostname {
    /// A DNS name in lower case, without a final dot.
    Name(String),
    /// An IP address.
    Address(IpAddr),
}

/// The hosts that no app can claim: those of the dashboard and API on any node, and all local
/// hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReservedHosts(HashSet<Hostname>);

impl ReservedHosts {
    /// Returns these configured or stored names, and all local hosts.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().filter_map(|name| Hostname::parse(name).ok()).collect())
    }

    /// Whether no app can claim this host.
    #[must_use]
    pub fn includes(&self, host: &Hostname) -> bool {
        host.is_local() || self.0.contains(host)
    }
}

/// The text is not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a valid host")]
pub struct NoHost;

impl Hostname {
    /// Parses a text like `shop.example`, `Shop.Example.:8080`, `[::1]:80` or `::1`.
    ///
    /// # Errors
    /// `NoHost` if the text is not a host.
    pub fn parse(text: &str) -> Result<Self, NoHost> {
        let text = text.trim_ascii();
        if let Some(host) = Self::normal(text) {
            return Ok(host);
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self::Address(IpAddr::from(address).to_canonical()));
        }
        let host = without_port(text)?;
        match Host::parse(host).map_err(|_| NoHost)? {
            Host::Ipv4(address) => Ok(Self::Address(address.into())),
            Host::Ipv6(address) => Ok(Self::Address(IpAddr::from(address).to_canonical())),
            Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(&name);
                if is_dns_name(name) { Ok(Self::Name(name.to_owned())) } else { Err(NoHost) }
            }
        }
    }

    /// Parses a host that is in normal form, except for its port. Most requests name one, several
    /// times each, and need no more.
    fn normal(text: &str) -> Option<Self> {
        let host = match text.split_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            Some(_) => return None,
            None => text,
        };
        if is_normal(host) {
            return Some(Self::Name(host.to_owned()));
        }
        // Only four decimal numbers; the other notations of an address are not in normal form.
        host.parse::<Ipv4Addr>().ok().map(|address| Self::Address(address.into()))
    }

    /// Returns the host that a request is for (RFC 9110, section 7.2); `None` if it has none.
    ///
    /// # Errors
    /// `NoHost` if the request names several hosts, or an invalid one.
    pub fn of_request(headers: &HeaderMap, uri: &Uri) -> Result<Option<Self>, NoHost> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().map_err(|_| NoHost)?,
            (Some(_), Some(_)) => return Err(NoHost),
            (None, _) => match uri.host() {
                Some(host) => host,
                None => return Ok(None),
            },
        };
        Self::parse(host).map(Some)
    }

    /// Whether the host means a machine itself, not a DNS name. No app can claim such a host.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Address(_) => true,
            Self::Name(name) => {
                let parent = name.strip_suffix(LOCALHOST);
                parent.is_some_and(|parent| parent.is_empty() || parent.ends_with('.'))
            }
        }
    }

    /// Returns the DNS name, unless the host is an address.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Whether the text is a DNS name in normal form.
fn is_normal(text: &str) -> bool {
    let is_plain = |label: &str| {
        !label.is_empty()
            && !label.starts_with("xn--")
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    // A name whose last label is a number is an address.
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= NAME_BYTES_MAX
        && last.starts_with(|first: char| first.is_ascii_lowercase())
        && text.split('.').all(is_plain)
}

/// Whether an ASCII name is a valid DNS name: non-empty labels of letters, digits, hyphens and
/// underscores, at most 253 bytes (RFC 1035, section 2.3.4). The URL Standard also accepts `a,b`
/// and `*`, which other software reads as a list or a pattern.
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.bytes().all(is_letter)
    };
    name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label)
}

/// Returns the text before the port, with brackets for an IPv6 address. The port can be any number,
/// or empty (RFC 3986, section 3.2.3).
fn without_port(text: &str) -> Result<&str, NoHost> {
    let end = match text.strip_prefix('[') {
        Some(inner) => inner.find(']').ok_or(NoHost)? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(end);
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(host),
        Some(port) if is_port(port) => Ok(host),
        _ => Err(NoHost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_gives_the_same_host() {
        for text in [
            "shop.example",
            "shop.example:8080",
            "shop.example:",
            "localhost:8080",
            "127.0.0.1",
            "127.0.0.1:80",
            "10.1.2.3:",
            "a-b.c1.example:1",
            "255.255.255.255",
        ] {
            let normal = Hostname::normal(text).unwrap();
            let host = without_port(text).unwrap();
            assert_eq!(Host::parse(host).unwrap().to_string(), normal.to_string(), "{text}");
            assert_eq!(Hostname::parse(text), Ok(normal), "{text}");
        }
        for text in ["", "::1", "1.2.3", "01.2.3.4", "1.2.3.4.", "A.example", "a.example.", "a:b"] {
            assert_eq!(Hostname::normal(text), None, "{text}");
        }
    }

    #[test]
    fn every_spelling_of_a_host_is_the_same_host() {
        for (normal, spellings) in [
            (
                "shop.example",
                &[
                    "shop.example",
                    "SHOP.Example",
                    "shop.example.",
                    "shop.example:8080",
                    "shop.example.:8080",
                    "shop.example:",
                    "shop.example:99999",
                    " shop.example ",
                    "shop.example\t",
                    "\u{ff53}hop.example",
                    "shop\u{3002}example",
                    "sh%6Fp.example",
                ][..],
            ),
            ("xn--kse-qla.example", &["käse.example", "KÄSE.example.", "XN--KSE-QLA.example"]),
            ("localhost", &["LocalHost", "localhost.", "localhost:80", "ｌｏｃａｌｈｏｓｔ"]),
            (
                "127.0.0.1",
                &[
                    "127.0.0.1",
                    "127.1",
                    "0x7f.1",
                    "2130706433",
                    "127.0.0.1.",
                    "127.0.0.1:80",
                    "::ffff:127.0.0.1",
                    "[::ffff:7f00:1]:80",
                ],
            ),
            ("[::1]", &["::1", "[::1]", "[::1]:8080", "[0:0:0:0:0:0:0:1]", "[::1]:"]),
        ] {
            for spelling in spellings {
                let host = Hostname::parse(spelling).map(|host| host.to_string());
                assert_eq!(host.as_deref(), Ok(normal), "{spelling}");
            }
        }
    }

    #[test]
    fn what_names_no_host_is_refused() {
        for wrong in [
            "",
            " ",
            ".",
            "..",
            "shop..example",
            "shop.example..",
            ".example",
            ":80",
            "[]",
            "[::1",
            "[::1]x",
            "::1]",
            "shop.example:http",
            "shop.example:80:80",
            "shop.example:-1",
            "ada@shop.example",
            "shop.example/a",
            "a b",
            "shop\0.example",
            "xn--a.example",
            "1.2.3.4.5",
            "[shop.example]",
            "sho%00p.example",
            "shop.example#",
            "a\\b",
            "a.example,b.example",
            "*",
            "*.example",
            "a$b.example",
            "(a).example",
            &format!("{}example", "long.".repeat(50)),
        ] {
            assert_eq!(Hostname::parse(wrong), Err(NoHost), "{wrong:?}");
        }
    }

    #[test]
    fn the_short_way_decides_as_the_long_one() {
        for text in ["a", "a.b", "a-b.c", "0a.b", "a.0x1", "a.b1", "a.1b", "-a.b-", "a.x0"] {
            if is_normal(text) {
                assert_eq!(Host::parse(text), Ok(Host::Domain(text.to_owned())), "{text}");
            }
        }
        for text in ["A", "a.", "xn--a", "a.1", "a.0x1", "", "a..b", "a_b"] {
            assert!(!is_normal(text), "{text}");
        }
    }

    #[test]
    fn a_local_host_is_no_name_in_the_dns() {
        let is_local = |text| Hostname::parse(text).unwrap().is_local();
        for local in ["localhost", "a.localhost.", "LOCALHOST:1", "10.0.0.1", "[fd00::1]", "127.1"]
        {
            assert!(is_local(local), "{local}");
        }
        for name in ["mylocalhost", "localhost.example", "localhosts", "shop.example"] {
            assert!(!is_local(name), "{name}");
        }
    }

    #[test]
    fn a_request_is_for_one_host() {
        let of = |hosts: &[&str], uri: &str| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            let host = Hostname::of_request(&headers, &uri.parse().unwrap());
            host.map(|host| host.map(|host| host.to_string()))
        };
        assert_eq!(of(&["A.example:1"], "/"), Ok(Some("a.example".to_owned())));
        assert_eq!(of(&[], "http://b.example:1/"), Ok(Some("b.example".to_owned())));
        assert_eq!(of(&[], "/"), Ok(None));
        assert_eq!(of(&["a.example", "a.example"], "/"), Err(NoHost));
        assert_eq!(of(&["ä.example"], "/"), Err(NoHost));
    }
}
