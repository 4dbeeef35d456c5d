//! The proxies that are trusted to report the origin of a request.
//!
//! A proxy in front of PiCloud sends its caller's address in `X-Forwarded-For` and the scheme in
//! `X-Forwarded-Proto`. Any caller can send these headers; they are trusted only from the proxies
//! of `PICLOUD_TRUSTED_PROXIES`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderName};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The trusted proxies. `Display` is the form of the setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// The text is not a list of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("addresses or networks like 127.0.0.1,10.0.0.0/8,fd00::/8, or none")]
pub struct TrustedProxiesError;

impl Default for TrustedProxies {
    /// Trusts this machine.
    fn default() -> Self {
        let loopback = [
            Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
            Ipv6Net::from(Ipv6Addr::LOCALHOST).into(),
        ];
        Self(loopback.into())
    }
}

impl TrustedProxies {
    /// Returns the address of the caller: the peer's, or the one that trusted proxies report.
    /// `None` without a peer.
    #[must_use]
    pub fn caller(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        let mut caller = peer(extensions)?;
        // Each proxy appends its caller's address to the list that it received.
        let named = headers.get_all(FORWARDED_FOR);
        let named: Vec<&str> = named.iter().filter_map(|value| value.to_str().ok()).collect();
        let mut before = named.iter().rev().flat_map(|line| line.rsplit(','));
        while self.trust(caller) {
            match before.next().map(|address| address.trim().parse()) {
                Some(Ok(address)) => caller = address,
                Some(Err(_)) | None => break,
            }
        }
        Some(caller.to_canonical())
    }

    /// Whether the caller's connection to the outermost proxy uses TLS.
    #[must_use]
    pub fn is_https(&self, extensions: &Extensions, headers: &HeaderMap) -> bool {
        peer(extensions).is_some_and(|peer| self.trust(peer))
            && headers.get(FORWARDED_PROTO).is_some_and(|protocol| protocol == "https")
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address.to_canonical()))
    }
}

fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
}

impl FromStr for TrustedProxies {
    type Err = TrustedProxiesError;

    fn from_str(text: &str) -> Result<Self, TrustedProxiesError> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        text.split(',').map(|text| network(text.trim())).collect::<Result<_, _>>().map(Self)
    }
}

impl std::fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (position, network) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{network}")?;
        }
        Ok(())
    }
}

/// Parses a network. A single address is a network of one address.
fn network(text: &str) -> Result<IpNet, TrustedProxiesError> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| TrustedProxiesError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(proxies: &str, peer: &str, forwarded: &[(&'static str, &str)]) -> (String, bool) {
        let proxies: TrustedProxies = proxies.parse().unwrap();
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        let mut headers = HeaderMap::new();
        for (name, value) in forwarded {
            headers.append(*name, value.parse().unwrap());
        }
        let caller = proxies.caller(&extensions, &headers).unwrap();
        (caller.to_string(), proxies.is_https(&extensions, &headers))
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let forwarded = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")];
        let table = [
            ("127.0.0.0/8", "127.0.0.1", ("192.0.2.1", true)),
            ("127.0.0.0/8", "::ffff:127.0.0.1", ("192.0.2.1", true)),
            ("127.0.0.0/8", "192.0.2.9", ("192.0.2.9", false)),
            ("10.0.0.0/8,fd00::/8", "fd12::1", ("192.0.2.1", true)),
            ("10.0.0.0/8,fd00::/8", "fe80::1", ("fe80::1", false)),
            ("none", "127.0.0.1", ("127.0.0.1", false)),
            ("0.0.0.0/0", "198.51.100.1", ("192.0.2.1", true)),
        ];
        for (proxies, peer, (caller, is_https)) in table {
            let expected = (caller.to_owned(), is_https);
            assert_eq!(called(proxies, peer, &forwarded), expected, "{proxies} {peer}");
        }
        assert_eq!(called("127.0.0.1", "127.0.0.1", &[]), ("127.0.0.1".to_owned(), false));
        let plain = [("x-forwarded-proto", "http")];
        assert!(!called("127.0.0.1", "127.0.0.1", &plain).1);
    }

    #[test]
    fn what_a_caller_says_of_itself_is_behind_what_a_proxy_says_of_it() {
        let named = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            called("10.0.0.0/8", "10.0.0.1", &lines).0
        };
        assert_eq!(named(&["127.0.0.1, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(named(&["127.0.0.1", "192.0.2.1, 10.0.0.2"]), "192.0.2.1");
        assert_eq!(named(&["nonsense"]), "10.0.0.1");
        assert_eq!(named(&["192.0.2.1, nonsense, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(named(&["10.0.0.3"]), "10.0.0.3");
    }

    #[test]
    fn networks_are_set_as_they_are_shown() {
        for text in ["none", "127.0.0.0/8,::1/128", "10.1.0.0/16"] {
            assert_eq!(text.parse::<TrustedProxies>().unwrap().to_string(), text);
        }
        assert_eq!(TrustedProxies::default().to_string(), "127.0.0.0/8,::1/128");
        assert_eq!("10.0.0.1".parse::<TrustedProxies>().unwrap().to_string(), "10.0.0.1/32");
        for wrong in ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.1,", "all"] {
            assert_eq!(wrong.parse::<TrustedProxies>(), Err(TrustedProxiesError), "{wrong}");
        }
    }
}
