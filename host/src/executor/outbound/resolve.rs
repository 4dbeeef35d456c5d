//! Resolves names to the addresses that the client connects to.
//!
//! Invariant: the client only connects to addresses that were checked here, because it resolves the
//! name for every connection and uses no other address.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::REMEDY;
use super::address::is_public;

/// Looks up the addresses of names: the system, or a test.
pub(super) trait Lookup: Send + Sync + 'static {
    /// Returns the addresses of a name.
    fn lookup(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>>;
}

/// The system's resolver.
pub(super) struct System;

impl Lookup for System {
    fn lookup(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
    }
}

/// Resolves names for a client.
pub(super) struct Resolver {
    pub(super) lookup: Arc<dyn Lookup>,
    /// Whether to leave out addresses that are not public.
    pub(super) public_only: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.lookup.lookup(name.as_str().to_owned());
        let public_only = self.public_only;
        Box::pin(async move {
            let mut found = found.await?;
            found.retain(|address| !public_only || is_public(address.ip()));
            if found.is_empty() {
                return Err(format!("{} has no public address; {REMEDY}", name.as_str()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
