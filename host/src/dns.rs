//! Looks up TXT records, which prove the ownership of domains.
//!
//! Invariant: every answer is fresh. Nothing is cached here, so that a new record is found as soon
//! as the DNS server knows it.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

/// The timeout of one try, and the number of tries.
const TRY_TIMEOUT: Duration = Duration::from_secs(3);
const TRIES: usize = 2;
/// The maximum number of records examined; a name with more is not meant for PiCloud.
const RECORDS_MAX: usize = 50;

/// A client of a DNS server. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Resolver {
    server: Option<SocketAddr>,
}

/// The DNS query failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DnsError(#[from] NetError);

impl Resolver {
    /// Returns a resolver for this server, or for those in the operating system's configuration.
    #[must_use]
    pub fn new(server: Option<SocketAddr>) -> Self {
        Self { server }
    }

    /// Returns the texts of a name's TXT records; empty without any. The parts of a record are
    /// joined (RFC 7208, section 3.3).
    ///
    /// # Errors
    /// If no server answers, or if the system's configuration cannot be read.
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, DnsError> {
        // The final dot disables the system's search list.
        let found = match self.resolver()?.txt_lookup(format!("{name}.")).await {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let texts = found.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
            _ => None,
        });
        Ok(texts.take(RECORDS_MAX).collect())
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let mut builder = match self.server {
            None => TokioResolver::builder_tokio()?,
            Some(server) => {
                let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
                (udp.port, tcp.port) = (server.port(), server.port());
                let server = NameServerConfig::new(server.ip(), true, vec![udp, tcp]);
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        options.timeout = TRY_TIMEOUT;
        options.attempts = TRIES;
        options.cache_size = 0;
        builder.build()
    }
}
