//! Private hosts: hosts without a public address that scripts can call by permission.
//!
//! Invariant: an entry opens exactly what it names: that host as written in the URL, and only its
//! port if it has one. A name does not open the address it resolves to, and an address does not
//! open names.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use url::Url;

/// The maximum length of a host name (RFC 1035).
const HOST_CHARS_MAX: usize = 253;

/// A host, optionally with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateHost {
    /// The host as in a URL: a name in lower case, or an address, with brackets for IPv6.
    host: String,
    /// The port; `None` allows any port.
    port: Option<u16>,
}

/// The text is not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("host names or addresses, optionally with a port, like intranet:8080 or [fd00::1]")]
pub struct PrivateHostError;

impl FromStr for PrivateHost {
    type Err = PrivateHostError;

    fn from_str(text: &str) -> Result<Self, PrivateHostError> {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self { host: format!("[{address}]"), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse::<u16>().ok().filter(|port| digits && *port != 0);
                (host, Some(port.ok_or(PrivateHostError)?))
            }
            _ => (text, None),
        };
        let url = Url::parse(&format!("http://{host}/")).map_err(|_| PrivateHostError)?;
        let known = url.host_str().map(bare).unwrap_or_default();
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.port().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        let is_host = known.starts_with('[')
            || known.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        // A host that is written in another notation could open an unexpected host.
        let is_meant = known == bare(host).to_ascii_lowercase();
        if is_plain && is_host && is_meant && (1..=HOST_CHARS_MAX).contains(&known.len()) {
            Ok(Self { host: known.to_owned(), port })
        } else {
            Err(PrivateHostError)
        }
    }
}

impl fmt::Display for PrivateHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// A list of private hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivateHosts(Vec<PrivateHost>);

impl PrivateHosts {
    /// Returns a list of these hosts.
    #[must_use]
    pub fn new(hosts: Vec<PrivateHost>) -> Self {
        Self(hosts)
    }

    /// Parses stored hosts, separated by spaces. Invalid entries are ignored.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        Self(text.split_whitespace().filter_map(|host| host.parse().ok()).collect())
    }

    /// Whether a URL's host is open at a port.
    pub(super) fn open(&self, host: &str, port: u16) -> bool {
        let host = bare(host);
        let opens = |entry: &PrivateHost| {
            entry.host == host && entry.port.is_none_or(|known| known == port)
        };
        self.0.iter().any(opens)
    }
}

/// Returns a host without the final dot of a full name.
fn bare(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_host_with_or_without_a_port() {
        let table = [
            ("intranet", "intranet"),
            ("Intranet.Example:8080", "intranet.example:8080"),
            ("intranet.", "intranet"),
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("::1", "[::1]"),
            ("[fd00::1]", "[fd00::1]"),
            ("[fd00::1]:443", "[fd00::1]:443"),
            ("my_host", "my_host"),
        ];
        for (given, shown) in table {
            assert_eq!(given.parse::<PrivateHost>().unwrap().to_string(), shown, "{given}");
        }
        for wrong in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a b",
            "*.example",
            "a/b",
            "a?b",
            "a#b",
            "u@a",
            "http://a",
            "10.0.0",
            "0x7f.1",
            "2130706433",
            "[::1",
            "[fe80::1%25eth0]",
            "10.0.0.0/8",
            "ä.example",
            "%61",
        ] {
            assert!(wrong.parse::<PrivateHost>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_entry_opens_exactly_what_it_names() {
        let hosts = PrivateHosts::of_text("intranet 10.0.0.1:8080 [::1]:80 nonsense:x");
        for (host, port, open) in [
            ("intranet", 80, true),
            ("intranet.", 8080, true),
            ("intranet.example", 80, false),
            ("a.intranet", 80, false),
            ("10.0.0.1", 8080, true),
            ("10.0.0.1", 80, false),
            ("10.0.0.2", 8080, false),
            ("[::1]", 80, true),
            ("[::1]", 443, false),
            ("nonsense", 80, false),
        ] {
            assert_eq!(hosts.open(host, port), open, "{host} {port}");
        }
    }
}
