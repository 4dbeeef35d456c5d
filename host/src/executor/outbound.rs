//! Requests to the outside, for scripts.
//!
//! ```text
//! hop            one request, and the next one after a redirect; pure
//! private_hosts  what is open although it has no public address
//! address        which addresses are public
//! resolve        from names to the addresses that are connected to
//! stale          requests that are sent once more
//! turns          how many requests are under way
//! ```
//!
//! Two clients, each with connections of its own: one that reaches only public addresses,
//! and one for hosts that are open to whoever asks for them. Which one it is is decided
//! for every hop, by app, host and port, so that no app uses a connection that another
//! one was allowed to make.
//!
//! Invariant: nothing is connected to but public addresses and what the app or the
//! operator has named. The address is checked where it is connected to, after the name
//! was resolved, so that no answer of a name server can change in between.
//! Invariant: no proxy and no setting of the environment has a say.

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

/// The longest time that a request may take, its redirects included.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest time that connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept that nobody uses, and how many to one host.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_MAX: usize = 4;
/// The largest body of a request.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// The most headers of a request, and their size together.
const REQUEST_HEADERS_MAX: usize = 100;
const REQUEST_HEADER_BYTES_MAX: usize = 32 << 10;
/// The largest body of an answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// The most headers of an answer, and their size together.
const ANSWER_HEADERS_MAX: usize = 100;
const ANSWER_HEADER_BYTES_MAX: usize = 64 << 10;
/// How many redirects are followed, unless the script says otherwise, and at most.
const REDIRECTS_DEFAULT: i64 = 5;
const REDIRECTS_MAX: i64 = 10;
/// How many requests are under way, of one app and of all.
const APP_REQUESTS_MAX: usize = 32;
const REQUESTS_MAX: usize = 256;

/// How an address that is not public is opened.
const REMEDY: &str = "an admin of the server can open it to this app (PUT \
    /api/v1/apps/{app}/outbound) or to all apps (PICLOUD_PRIVATE_HOSTS)";

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The request itself is refused, and would be again.
    Refused(String),
    /// It failed on its way, or its answer was refused.
    Failed(String),
}

/// Sends requests. Cheap to clone; every clone uses the same connections.
#[derive(Clone)]
pub struct Outbound {
    public: Client,
    private: Client,
    /// What the operator has opened for all apps.
    open_to_all: Arc<PrivateHosts>,
    turns: Arc<Turns>,
}

/// Who sends a request.
pub(super) struct Sender<'a> {
    pub(super) app_id: &'a AppId,
    /// What is open to its app.
    pub(super) open: &'a PrivateHosts,
    /// Finds the secrets that it has read.
    pub(super) secrets: &'a Revealed,
}

impl Outbound {
    /// Reaches public addresses, and `open_to_all`.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(open_to_all: PrivateHosts) -> Result<Self, std::io::Error> {
        Self::with_lookup(open_to_all, &(Arc::new(System) as Arc<dyn Lookup>))
    }

    fn with_lookup(
        open_to_all: PrivateHosts,
        lookup: &Arc<dyn Lookup>,
    ) -> Result<Self, std::io::Error> {
        // Set once for the process; a second time finds what it wanted.
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

    /// Sends a request, follows where it is redirected to, and reads the answer, whatever
    /// its status.
    ///
    /// # Errors
    /// `Refused` for what the script asks for, `Failed` for all that comes later.
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

    /// Whose connections a hop uses.
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
        return Err(format!("the answer has {count} headers, {ANSWER_HEADERS_MAX} are allowed"));
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
            "the answer's headers have {bytes} bytes, {ANSWER_HEADER_BYTES_MAX} are allowed"
        ));
    }
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| in_words(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!("the answer is larger than {ANSWER_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    let content_type = headers.iter().find(|(name, _)| name == CONTENT_TYPE.as_str());
    let text = content_type.and_then(|(_, content_type)| foreign_text(content_type, &body));
    Ok(Answer { status, headers, body, text })
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
