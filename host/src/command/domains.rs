//! `picloud domains`: host names at whose root an app's routes stand.

use std::process::ExitCode;

use picloud::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::encode;
use super::detail::{Output, Paging, print_page, time};
use super::{Failure, Server};

/// What to do with domains.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud domains claim shop.example.org --app shop      prints the DNS record to make
  picloud domains verify shop.example.org --app shop     looks for the record
  picloud domains approve shop.lan --app shop            without DNS, as an admin of the instance
  picloud domains list --app shop

A domain is served when it is verified.")]
pub(super) enum DomainsCommand {
    /// Print an app's domains and whether they are served
    List(List),
    /// Claim a domain and print the DNS record that proves it
    Claim(One),
    /// Look for the DNS record that proves a domain
    Verify(One),
    /// Approve a domain without a DNS record; for admins of the instance
    Approve(One),
    /// Give a domain up and delete the routes there
    Release(One),
}

/// Which domains.
#[derive(clap::Args)]
pub(super) struct List {
    /// The app
    #[arg(long)]
    app: String,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    server: Server,
}

/// Which domain.
#[derive(clap::Args)]
pub(super) struct One {
    /// The host name
    host: String,
    /// The app
    #[arg(long)]
    app: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl DomainsCommand {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(config).await,
            Self::Claim(one) => one.claim(config).await,
            Self::Verify(one) => one.change(config, Method::POST, "/verify").await,
            Self::Approve(one) => one.change(config, Method::POST, "/approve").await,
            Self::Release(one) => one.change(config, Method::DELETE, "").await,
        }
    }
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/apps/{}/domains?limit={}", encode(&self.app), self.paging.limit);
        let page = client.call(Method::GET, &path, None).await?;
        print_page(&page, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl One {
    async fn claim(self, config: Config) -> Result<ExitCode, Failure> {
        let path = format!("/apps/{}/domains", encode(&self.app));
        let client = self.server.client(config)?;
        let body = json!({ "host": self.host });
        let domain = client.call(Method::POST, &path, Some(&body)).await?;
        self.output.print(&domain, &line(&domain))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn change(
        self,
        config: Config,
        method: Method,
        action: &str,
    ) -> Result<ExitCode, Failure> {
        let path = format!("/apps/{}/domains/{}{action}", encode(&self.app), encode(&self.host));
        let client = self.server.client(config)?;
        let domain = client.call(method, &path, None).await?;
        match domain["host"].is_string() {
            true => self.output.print(&domain, &line(&domain))?,
            false => eprintln!("released"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn line(domain: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (host, proof) = (text(&domain["host"]), &domain["proof"]);
    if proof.is_object() {
        let (kind, name, value) =
            (text(&proof["type"]), text(&proof["name"]), text(&proof["value"]));
        return format!("{host} · pending · make the DNS record: {name} {kind} \"{value}\"");
    }
    let verified = format!(
        "verified at {} by {}",
        time(domain["verified_at"].as_i64()),
        text(&domain["verified_by"])
    );
    match domain["closed"].as_str() {
        Some(reason) => format!("{host} · closed: {reason} · {verified}"),
        None => format!("{host} · served · {verified}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_tells_whether_it_is_served_and_what_to_do() {
        let pending = json!({ "host": "a.example", "state": "pending", "closed": null, "proof": {
            "type": "TXT", "name": "_picloud.a.example", "value": "picloud-verification=7"
        }});
        let verified = json!({ "host": "a.example", "closed": null, "proof": null,
            "verified_at": 0, "verified_by": "dns" });
        let closed = json!({ "host": "localhost", "closed": "host_reserved", "proof": null,
            "verified_at": 0, "verified_by": "upgrade" });
        for (domain, expected) in [
            (
                pending,
                "a.example · pending · make the DNS record: _picloud.a.example TXT \
                 \"picloud-verification=7\"",
            ),
            (verified, "a.example · served · verified at 1970-01-01T00:00:00.000Z by dns"),
            (
                closed,
                "localhost · closed: host_reserved · verified at 1970-01-01T00:00:00.000Z by upgrade",
            ),
        ] {
            assert_eq!(line(&domain), expected);
        }
    }
}
