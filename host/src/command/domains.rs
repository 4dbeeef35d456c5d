//! `picloud domains`: the host names on which an app can have routes.

use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{ClaimDomain, Domain};

use super::client::{Ignored, encode};
use super::output::{Output, Paging, print_page};
use super::time::time;
use super::{Failure, Server};

/// Commands for domains.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  picloud domains claim shop.example.org --app shop      prints the DNS record to create
  picloud domains verify shop.example.org --app shop     looks up the record
  picloud domains approve shop.lan --app shop            without DNS, as an instance admin
  picloud domains list --app shop

A domain is served once it is verified.")]
pub(super) enum DomainsCommand {
    /// List an app's domains and whether they are served
    List(List),
    /// Claim a domain and print the DNS record that proves its ownership
    Claim(One),
    /// Look up the DNS record that proves a domain's ownership
    Verify(One),
    /// Approve a domain without a DNS record; for instance admins
    Approve(One),
    /// Release a domain and delete its routes
    Release(One),
}

/// The list to print.
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

/// The domain.
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
            Self::Verify(one) => one.prove(config, "verify").await,
            Self::Approve(one) => one.prove(config, "approve").await,
            Self::Release(one) => one.release(config).await,
        }
    }
}

impl List {
    async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let path = format!("/apps/{}/domains?limit={}", encode(&self.app), self.paging.limit);
        print_page(&client.list(&path).await?, self.paging.json, line)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl One {
    fn path(&self) -> String {
        format!("/apps/{}/domains/{}", encode(&self.app), encode(&self.host))
    }

    async fn claim(self, config: Config) -> Result<ExitCode, Failure> {
        let path = format!("/apps/{}/domains", encode(&self.app));
        let client = self.server.client(config)?;
        let domain = client.post(&path, &ClaimDomain { host: self.host }).await?;
        self.output.print(&domain, &line(&domain.value))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn prove(self, config: Config, how: &str) -> Result<ExitCode, Failure> {
        let path = format!("{}/{how}", self.path());
        let client = self.server.client(config)?;
        let domain = client.post_empty(&path).await?;
        self.output.print(&domain, &line(&domain.value))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn release(self, config: Config) -> Result<ExitCode, Failure> {
        let path = self.path();
        let client = self.server.client(config)?;
        client.delete::<Ignored>(&path).await?;
        eprintln!("released");
        Ok(ExitCode::SUCCESS)
    }
}

fn line(domain: &Domain) -> String {
    let host = &domain.host;
    if let Some(proof) = &domain.proof {
        let (kind, name, value) = (&proof.r#type, &proof.name, &proof.value);
        return format!("{host} · pending · create the DNS record: {name} {kind} \"{value}\"");
    }
    let verified = format!(
        "verified at {} by {}",
        time(domain.verified_at.unwrap_or_default()),
        domain.verified_by.as_deref().unwrap_or_default(),
    );
    match &domain.closed {
        Some(reason) => format!("{host} · closed: {reason} · {verified}"),
        None => format!("{host} · served · {verified}"),
    }
}

#[cfg(test)]
mod tests {
    use picloud::manager::api::{DomainClosed, DomainProof, DomainState, Extensible};

    use super::*;

    #[test]
    fn a_domain_tells_whether_it_is_served_and_what_to_do() {
        let proof = DomainProof {
            r#type: "TXT".into(),
            name: "_picloud.a.example".to_owned(),
            value: "picloud-verification=7".to_owned(),
        };
        let domain =
            |proof: Option<DomainProof>, closed: Option<Extensible<DomainClosed>>| Domain {
                host: "a.example".to_owned(),
                state: DomainState::Verified.into(),
                verified_at: proof.is_none().then_some(0),
                verified_by: proof.is_none().then(|| "dns".to_owned()),
                proof,
                closed,
                created_at: 0,
            };
        for (domain, expected) in [
            (
                domain(Some(proof), None),
                "a.example · pending · create the DNS record: _picloud.a.example TXT \
                 \"picloud-verification=7\"",
            ),
            (
                domain(None, None),
                "a.example · served · verified at 1970-01-01T00:00:00.000Z by dns",
            ),
            (
                domain(None, Some(DomainClosed::HostReserved.into())),
                "a.example · closed: host_reserved · verified at 1970-01-01T00:00:00.000Z by dns",
            ),
        ] {
            assert_eq!(line(&domain), expected);
        }
    }
}
