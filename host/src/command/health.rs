//! `picloud health`: the readiness check for supervisors, such as a container's HEALTHCHECK. An
//! image needs no other program for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use picloud::config::Config;
use serde_json::json;

use super::output::Output;
use super::{Failure, client};

/// The timeout of the check. The server itself gives the database 2 seconds.
const TIMEOUT: Duration = Duration::from_secs(4);

#[derive(clap::Args)]
pub(super) struct Health {
    /// The server's address [default: the address of PICLOUD_LISTEN]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl Health {
    pub(super) async fn run(self, config: &Config) -> Result<ExitCode, Failure> {
        let url = self.url.unwrap_or_else(|| format!("http://{}", reachable(config.listen)));
        let url = format!("{}/health/ready", url.trim_end_matches('/'));
        let http = client::http(&url, TIMEOUT)?;
        let answer = http.get(&url).timeout(TIMEOUT).send().await;
        let answer =
            answer.map_err(|error| Failure(format!("{url}: {}", client::describe(&error))))?;
        if !answer.status().is_success() {
            return Err(Failure(format!("{url} returns {}", answer.status())));
        }
        self.output.print(&json!({ "ready": true }), "ready")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns the address under which this machine can connect to a server that listens here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_reached_by_loopback() {
        for (listen, reached) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:8080", "192.0.2.1:8080"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), reached);
        }
    }
}
