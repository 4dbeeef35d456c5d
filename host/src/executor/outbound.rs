//! Outbound HTTP requests of scripts.
//!
//! ```text
//! hop            one request, and the next one after a redirect; pure
//! private_hosts  hosts that are open although their addresses are not public
//! address        which addresses are public
//! resolve        from names to the addresses to connect to
//! stale          when a request is sent again
//! turns          the number of concurrent requests
//! ```
//!
//! There are two clients, each with its own connections: one for public addresses only, and one for
//! private hosts that are open. The choice is made for every hop, by app, host and port. So an app
//! never uses a connection that only another app was allowed to open.
//!
//! Invariant: requests only connect to public addresses and to hosts that the app or the operator
//! has opened. The address is checked after name resolution, right where the client connects, so
//! that a name server cannot change it in between.
//! Invariant: proxies and environment variables have no effect.

mod address;
mod hop;
mod resolve;
mod stale;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use picloud_shared::calls::http::{Answer, Send};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};

use crate::requests::foreign_text;
use crate::secrets::Revealed;
use crate::store::AppId;

use crate::private_hosts::PrivateHosts;
use hop::Hop;
use resolve::{Lookup, Resolver, System};
use turns::Turns;

/// The maximum time of a request, including its redirects.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The time that an idle connection is kept, and the maximum number of them per host.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_MAX: usize = 4;
/// The maximum size of a request's body.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// The maximum number of a request's headers, and their maximum total size.
const REQUEST_HEADERS_MAX: usize = 100;
const REQUEST_HEADER_BYTES_MAX: usize = 32 << 10;
/// The maximum size of a response's body.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// The maximum number of a response's headers, and their maximum total size.
const ANSWER_HEADERS_MAX: usize = 100;
const ANSWER_HEADER_BYTES_MAX: usize = 64 << 10;
/// The default and the maximum number of redirects to follow.
const REDIRECTS_DEFAULT: i64 = 5;
const REDIRECTS_MAX: i64 = 10;
/// The maximum number of concurrent requests, per app and in total.
const APP_REQUESTS_MAX: usize = 32;
const REQUESTS_MAX: usize = 256;

/// The hint how to open an address that is not public.
const REMEDY: &str = "an admin of the server can open it to this app (PUT \
    /api/v1/apps/{app}/outbound) or to all apps (PICLOUD_PRIVATE_HOSTS)";

/// The reason why a request has no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The request was refused, and would be refused again.
    Refused(String),
    /// The request failed, or its response was refused.
    Failed(String),
}

/// Sends requests. Cheap to clone; every clone uses the same connections.
#[derive(Clone)]
pub struct Outbound {
    public: Client,
    private: Client,
    /// The hosts that the operator has opened for all apps.
    open_to_all: Arc<PrivateHosts>,
    turns: Arc<Turns>,
}

/// The sender of a request.
pub(super) struct Sender<'a> {
    pub(super) app_id: &'a AppId,
    /// The hosts open to its app.
    pub(super) open: &'a PrivateHosts,
    /// Finds the secrets that the run has read.
    pub(super) secrets: &'a Revealed,
}

impl Outbound {
    /// Creates a client for public addresses and the hosts in `open_to_all`.
    ///
    /// # Errors
    /// Fails if TLS cannot be set up.
    pub fn new(open_to_all: PrivateHosts) -> Result<Self, std::io::Error> {
        Self::with_lookup(open_to_all, &(Arc::new(System) as Arc<dyn Lookup>))
    }

    fn with_lookup(
        open_to_all: PrivateHosts,
        lookup: &Arc<dyn Lookup>,
    ) -> Result<Self, std::io::Error> {
        // Set once per process. A second call fails because it is already set, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = |public_only| {
            Client::builder()
                .no_proxy()
                .redirect(Policy::none())
                .timeout(TIMEOUT)
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(IDLE_MAX)
                .user_agent("PiCloud")
                .dns_resolver(Arc::new(Resolver { lookup: Arc::clone(lookup), public_only }))
                .build()
                .map_err(std::io::Error::other)
        };
        let (public, private) = (client(true)?, client(false)?);
        Ok(Self { public, private, open_to_all: Arc::new(open_to_all), turns: Arc::default() })
    }

    /// Sends a request, follows its redirects, and reads the response, with any status.
    ///
    /// # Errors
    /// `Refused` if the request itself is not allowed, `Failed` for any later error.
    pub(super) async fn send(&self, send: Send, sender: &Sender<'_>) -> Result<Answer, Unanswered> {
        let redirects_max = send.redirects.unwrap_or(REDIRECTS_DEFAULT);
        if !(0..=REDIRECTS_MAX).contains(&redirects_max) {
            let words = format!("redirects are 0 to {REDIRECTS_MAX}, not {redirects_max}");
            return Err(Unanswered::Refused(words));
        }
        let asked = send.timeout_ms.and_then(|ms| u64::try_from(ms).ok());
        let limit = asked.map_or(TIMEOUT, |ms| Duration::from_millis(ms).min(TIMEOUT));
        let hop = Hop::of(send).map_err(Unanswered::Refused)?;
        self.client_for(&hop, sender).map_err(Unanswered::Refused)?;
        let answer = self.follow(hop, redirects_max, sender);
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(Unanswered::Failed),
            Err(_) => Err(Unanswered::Failed("the request took too long".to_owned())),
        }
    }

    async fn follow(
        &self,
        mut hop: Hop,
        redirects_max: i64,
        sender: &Sender<'_>,
    ) -> Result<Answer, String> {
        let mut redirects = 0;
        loop {
            let client = self.client_for(&hop, sender)?;
            let _turn = self.turns.take(sender.app_id).await?;
            let answer = match hop.send_by(client).await {
                Err(error) if stale::may_repeat(&hop.method, &error) => hop.send_by(client).await,
                answer => answer,
            };
            let answer = answer.map_err(|error| in_words(&error))?;
            if redirects_max == 0 {
                return read(answer).await;
            }
            let location = answer.headers().get(LOCATION);
            match hop.redirected(answer.status(), location, sender.secrets)? {
                None => return read(answer).await,
                Some(_) if redirects == redirects_max => {
                    return Err(format!("the request was redirected more than {redirects} times"));
                }
                Some(next) => hop = next,
            }
            redirects += 1;
        }
    }

    /// Returns the client whose connections a hop uses.
    fn client_for(&self, hop: &Hop, sender: &Sender<'_>) -> Result<&Client, String> {
        let (host, port) = hop.origin()?;
        if sender.open.open(host, port) || self.open_to_all.open(host, port) {
            return Ok(&self.private);
        }
        hop.check_public()?;
        Ok(&self.public)
    }
}

async fn read(mut answer: Response) -> Result<Answer, String> {
    let count = answer.headers().len();
    if count > ANSWER_HEADERS_MAX {
        return Err(format!(
            "the response has {count} headers, at most {ANSWER_HEADERS_MAX} are allowed"
        ));
    }
    let headers: Vec<(String, String)> = answer
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > ANSWER_HEADER_BYTES_MAX {
        return Err(format!(
            "the response's headers have {bytes} bytes, at most {ANSWER_HEADER_BYTES_MAX} are \
             allowed"
        ));
    }
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| in_words(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!("the response is larger than {ANSWER_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    let content_type = headers.iter().find(|(name, _)| name == CONTENT_TYPE.as_str());
    let text = content_type.and_then(|(_, content_type)| foreign_text(content_type, &body));
    Ok(Answer { status, headers, body, text })
}

fn in_words(error: &reqwest::Error) -> String {
    // The outermost error only names the address, which the script already knows.
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
