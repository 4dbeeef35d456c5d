//! Whose word is taken for where a request came from.
//!
//! A proxy in front of PiCloud says in `X-Forwarded-For` who has called it and in
//! `X-Forwarded-Proto` how. Anybody can say so; it is believed from the proxies of
//! `PICLOUD_TRUSTED_PROXIES` only.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderName};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The proxies that are believed. `Display` is how they are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

/// The text names no networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("addresses or networks like 127.0.0.1,10.0.0.0/8,fd00::/8, or none")]
pub struct TrustedProxiesError;

impl Default for TrustedProxies {
    /// Whatever runs on this machine.
    fn default() -> Self {
        let network = |address, prefix_bits| Network { address, prefix_bits };
        let loopback = [
            network(std::net::Ipv4Addr::new(127, 0, 0, 0).into(), 8),
            network(std::net::Ipv6Addr::LOCALHOST.into(), 128),
        ];
        Self(loopback.into())
    }
}

impl TrustedProxies {
    /// The address of whoever has called: the peer, or who the trusted proxies say that
    /// they were called by. None when there is no peer.
    #[must_use]
    pub fn caller(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        let mut caller = peer(extensions)?;
        // Each proxy has put who called it at the end of what it was told.
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

    /// Whether the caller speaks to the outermost proxy by TLS.
    #[must_use]
    pub fn is_https(&self, extensions: &Extensions, headers: &HeaderMap) -> bool {
        peer(extensions).is_some_and(|peer| self.trust(peer))
            && headers.get(FORWARDED_PROTO).is_some_and(|protocol| protocol == "https")
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address.to_canonical()))
    }
}

fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let same_beginning =
            |differing_bits: u32, bits: u32| bits - differing_bits >= self.prefix_bits;
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                same_beginning(32 - (ours.to_bits() ^ other.to_bits()).leading_zeros(), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => {
                same_beginning(128 - (ours.to_bits() ^ other.to_bits()).leading_zeros(), 128)
            }
            _ => false,
        }
    }
}

impl FromStr for TrustedProxies {
    type Err = TrustedProxiesError;

    fn from_str(text: &str) -> Result<Self, TrustedProxiesError> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        text.split(',').map(|network| network.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl std::fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (position, Network { address, prefix_bits }) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{address}/{prefix_bits}")?;
        }
        Ok(())
    }
}

impl FromStr for Network {
    type Err = TrustedProxiesError;

    fn from_str(text: &str) -> Result<Self, TrustedProxiesError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| TrustedProxiesError)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix.map_or(Ok(bits), str::parse).map_err(|_| TrustedProxiesError)?;
        if prefix_bits > bits {
            return Err(TrustedProxiesError);
        }
        Ok(Self { address, prefix_bits })
    }
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
