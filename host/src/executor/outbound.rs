//! Requests to the outside, for scripts.
//!
//! Invariant: nothing is connected to but public addresses and the hosts that the
//! operator has named. The address is checked where it is connected to, after the
//! name was resolved, so that no answer of a name server can change in between.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use picloud_shared::calls::http::{Answer, Send};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};

/// The longest time that a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest body of an answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Sends requests. Cheap to clone; every clone uses the same connections.
#[derive(Clone)]
pub struct Outbound {
    client: Client,
    private_hosts: Arc<Vec<String>>,
}

impl Outbound {
    /// A client that also reaches `private_hosts`: names or addresses, as they stand
    /// in a URL.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(private_hosts: Vec<String>) -> Result<Self, std::io::Error> {
        let private_hosts = Arc::new(private_hosts);
        // Set once for the process; a second time finds what it wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .user_agent("PiCloud")
            .dns_resolver(Arc::new(PublicOnly(Arc::clone(&private_hosts))))
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Self { client, private_hosts })
    }

    /// Sends a request and reads its answer, whatever its status.
    pub(super) async fn send(&self, send: Send) -> Result<Answer, String> {
        let url = Url::parse(&send.url).map_err(|error| format!("the address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("the address begins with {}:, not http: or https:", url.scheme()));
        }
        self.check_literal(&url)?;
        let method: Method = send.method.parse().map_err(|_| "the method is none".to_owned())?;
        let mut request = self.client.request(method, url).body(send.body);
        for (name, value) in &send.headers {
            request = request.header(name, value);
        }
        if let Some(timeout_ms) = send.timeout_ms.and_then(|ms| u64::try_from(ms).ok()) {
            request = request.timeout(Duration::from_millis(timeout_ms).min(TIMEOUT));
        }
        let mut response = request.send().await.map_err(|error| in_words(&error))?;
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| in_words(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(format!("the answer is larger than {ANSWER_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body })
    }

    /// An address in the URL itself is never resolved, and so checked here.
    fn check_literal(&self, url: &Url) -> Result<(), String> {
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match literal {
            Ok(address) if !is_public(address) && !self.private_hosts.iter().any(|h| h == host) => {
                Err(format!("{address} is not a public address"))
            }
            _ => Ok(()),
        }
    }
}

fn in_words(error: &reqwest::Error) -> String {
    // The outermost error names only the address, which the script knows.
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if error.is_timeout() {
        "the request took too long".to_owned()
    } else {
        format!("the request failed: {cause}")
    }
}

/// Resolves names, and leaves out every address that is not public.
struct PublicOnly(Arc<Vec<String>>);

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.0.iter().any(|host| host == name.as_str());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> =
                found.filter(|address| allowed || is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(format!("{} has no public address", name.as_str()).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public internet, by IANA's registries of
/// special-purpose addresses.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 192 && b == 88 && c == 99)
                || (a == 198 && (18..20).contains(&b)))
        }
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            // Only 2000::/3 is given out; of that not the documentation, Teredo,
            // ORCHID and 6to4 blocks. What embeds an IPv4 address is as public as that.
            match v6.to_ipv4_mapped() {
                Some(v4) => is_public(IpAddr::V4(v4)),
                None => {
                    segments[0] & 0xe000 == 0x2000
                        && !(segments[0] == 0x2001 && segments[1] < 0x0200)
                        && !(segments[0] == 0x2001 && segments[1] == 0x0db8)
                        && segments[0] != 0x2002
                        && segments[0] & 0xfff0 != 0x3ff0
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for public in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "2001::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }
}
