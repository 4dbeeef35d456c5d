//! The admin API, seen from the command line.

use std::collections::HashMap;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use picloud::auth::OwnerKey;
use picloud::json::Verbatim;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde_json::Value;

use super::{Failure, ScriptAddress};

/// What stands in a URL as it is (RFC 3986, unreserved).
const IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// How long the server may take to be connected to.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The names of an app's scripts, by their ids.
pub(super) struct ScriptNames(HashMap<String, String>);

impl ScriptNames {
    /// The name of the script that a row names by `script_id`: the id itself when the
    /// script is gone, `-` when there is none.
    pub(super) fn of<'a>(&'a self, row: &'a Value) -> &'a str {
        let id = row["script_id"].as_str();
        id.map_or("-", |id| self.0.get(id).map_or(id, String::as_str))
    }
}

/// A server and the key for it.
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    key: OwnerKey,
}

/// An answer that is an error.
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// What is in its `error`, or `null` when it is not one of PiCloud's.
    pub(super) error: Value,
}

impl Refused {
    /// Its code, empty when it has none.
    pub(super) fn code(&self) -> &str {
        self.error["code"].as_str().unwrap_or_default()
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match (refused.status, refused.error["message"].as_str()) {
            (StatusCode::UNAUTHORIZED, Some(_)) => Self::new(
                "the server does not accept this key; it prints the owner key at its first start, \
                 and `picloud owner-key reset` makes a new one",
            ),
            (_, Some(message)) => Self::new(message),
            (status, None) => Self(format!(
                "the server answered {status}, which PiCloud does not; is this its URL?"
            )),
        }
    }
}

impl Client {
    /// Errors: when there is no key, or the machine has no certificates to check an
    /// `https` server with.
    pub(super) fn new(url: String, key: Option<OwnerKey>) -> Result<Self, Failure> {
        let key = key.ok_or_else(|| {
            Failure::new(
                "a key is needed: set PICLOUD_OWNER_KEY to the key that the first start of \
                 `picloud serve` has printed, or PICLOUD_API_KEY to one of `picloud keys create`",
            )
        })?;
        Ok(Self { http: http(&url, CONNECT_TIMEOUT)?, url, key })
    }

    /// The server's URL with this path.
    pub(super) fn full_url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Calls the API. `path` starts below `/api/v1`; its parts are encoded already.
    ///
    /// Errors: `Err` when there was no answer; `Ok(Err)` when it was a refusal.
    pub(super) async fn try_call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Result<Value, Refused>, Failure> {
        self.send(self.request(method, path, body)?).await
    }

    /// [`Self::try_call`] for when a refusal is the end.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        Ok(self.try_call(method, path, body).await??)
    }

    /// A POST that is carried out once for all calls with the same key.
    pub(super) async fn call_once(
        &self,
        path: &str,
        body: &Value,
        idempotency_key: &str,
    ) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path, Some(body))?;
        Ok(self.send(request.header("idempotency-key", idempotency_key)).await??)
    }

    /// The bytes at `path`.
    pub(super) async fn download(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let (status, bytes) = self.answer(self.request(Method::GET, path, None)?).await?;
        if !status.is_success() {
            return Err(refused(status, &bytes).into());
        }
        Ok(bytes)
    }

    /// Puts bytes to `path`.
    pub(super) async fn upload(
        &self,
        path: &str,
        content: Vec<u8>,
        content_type: Option<&str>,
    ) -> Result<Value, Failure> {
        let request = self.request(Method::PUT, path, None)?.body(content);
        let request = match content_type {
            Some(content_type) => request.header("content-type", content_type),
            None => request,
        };
        Ok(self.send(request).await??)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<RequestBuilder, Failure> {
        let url = exact_url(&self.full_url(&format!("/api/v1{path}")))?;
        let request = self.http.request(method, url).bearer_auth(self.key.reveal());
        Ok(match body {
            Some(body) => request.json(body),
            None => request,
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Result<Value, Refused>, Failure> {
        let (status, bytes) = self.answer(request).await?;
        if !status.is_success() {
            return Ok(Err(refused(status, &bytes)));
        }
        let Verbatim(value) = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Ok(value))
    }

    async fn answer(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), Failure> {
        let answer = request.send().await.map_err(|error| self.unanswered(&error))?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|error| self.unanswered(&error))?;
        Ok((status, bytes.to_vec()))
    }

    /// The script of that name; `None` when the app has none.
    pub(super) async fn find_script(
        &self,
        address: &ScriptAddress,
    ) -> Result<Option<Value>, Failure> {
        let path =
            format!("/apps/{}/scripts?name={}", encode(&address.app), encode(&address.script));
        let mut list = self.call(Method::GET, &path, None).await?;
        Ok(list["items"].get_mut(0).map(Value::take))
    }

    /// The id of the script of that name.
    pub(super) async fn script_id(&self, address: &ScriptAddress) -> Result<String, Failure> {
        let ScriptAddress { app, script } = address;
        self.find_script(address)
            .await?
            .and_then(|found| found["id"].as_str().map(str::to_owned))
            .ok_or_else(|| Failure(format!("the app {app} has no script {script}")))
    }

    /// The id of the app's script of that name, if a name is given.
    pub(super) async fn script_id_in(
        &self,
        app: &str,
        script: Option<String>,
    ) -> Result<Option<String>, Failure> {
        let Some(script) = script else { return Ok(None) };
        self.script_id(&ScriptAddress { app: app.to_owned(), script }).await.map(Some)
    }

    /// The names of an app's scripts, by their ids.
    pub(super) async fn script_names(&self, app: &str) -> Result<ScriptNames, Failure> {
        let mut names = HashMap::new();
        let mut offset = Some(0);
        while let Some(from) = offset {
            let path = format!("/apps/{}/scripts?limit=200&offset={from}", encode(app));
            let page = self.call(Method::GET, &path, None).await?;
            for script in page["items"].as_array().into_iter().flatten() {
                let text = |member: &str| script[member].as_str().unwrap_or_default().to_owned();
                names.insert(text("id"), text("name"));
            }
            offset = page["next_offset"].as_u64();
        }
        Ok(ScriptNames(names))
    }

    fn unanswered(&self, error: &reqwest::Error) -> Failure {
        if error.is_connect() {
            let (url, cause) = (&self.url, describe(error));
            return Failure(format!(
                "cannot connect: {cause}; is `picloud serve` running at {url}?"
            ));
        }
        Failure(describe(error))
    }
}

/// What an answer that is an error says.
fn refused(status: StatusCode, bytes: &[u8]) -> Refused {
    let Verbatim(mut value) = serde_json::from_slice(bytes).unwrap_or_default();
    Refused { status, error: value["error"].take() }
}

/// A client for a URL, which gives up when it has not connected in time.
pub(super) fn http(url: &str, connect_timeout: Duration) -> Result<reqwest::Client, Failure> {
    // A second installation would be the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder().connect_timeout(connect_timeout);
    if url.starts_with("http:") {
        // Without this the client looks for certificates, and a bare machine
        // has none.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| Failure::new(describe(&error)))
}

/// The URL, if a client sends its path as it is. A URL cannot have `.` or `..` as a part of its
/// path, however that is encoded: it becomes the URL of something else.
fn exact_url(text: &str) -> Result<Url, Failure> {
    let url = Url::parse(text).map_err(|error| Failure::new(describe(&error)))?;
    let path = text.split_once('?').map_or(text, |(path, _)| path);
    if !path.ends_with(url.path()) {
        return Err(Failure::new(
            "a name that is `.` or `..` cannot be a part of a URL; use a script to read or change it",
        ));
    }
    Ok(url)
}

/// A name, fit for a path or a query.
pub(super) fn encode(name: &str) -> String {
    utf8_percent_encode(name, IN_URL).to_string()
}

/// The first cause says most.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_sent_as_it_is_or_not_at_all() {
        let of = |path: &str| exact_url(&format!("http://127.0.0.1:8080/api/v1{path}")).is_ok();
        let name = |name: &str| format!("/apps/demo/kv/{}/key?limit=1", encode(name));
        for sent in ["c", "...", "a/../b", "%2e%2e", "ü", " ", "?x", "#x", "~"] {
            assert!(of(&name(sent)), "{sent}");
        }
        for folded in [".", ".."] {
            assert!(!of(&name(folded)), "{folded}");
            assert!(!of(&format!("/apps/demo/kv/c/{}", encode(folded))), "{folded}");
            assert!(!of(&format!("/apps/demo/kv/{}", encode(folded))), "{folded}");
        }
    }
}
