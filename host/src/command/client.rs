//! The client of the admin API, with the API's own types.
//!
//! A path is relative to `/api/v1`, and its parts are already encoded, see [`encode`].

mod answer;
mod error;
mod page;
mod scripts;
mod url;

use std::time::Duration;

use picloud::auth::OwnerKey;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Failure;

pub(super) use answer::Answer;
pub(super) use error::{CallError, Refused, details};
pub(super) use page::Page;
pub(super) use scripts::ScriptNames;
pub(super) use url::{encode, query};

/// A response that is not read.
pub(super) type Ignored = serde::de::IgnoredAny;

/// The timeout for connecting to the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server, and the key to call it.
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    key: OwnerKey,
}

impl Client {
    /// Errors: if there is no key, or if the machine has no certificates to verify an `https`
    /// server with.
    pub(super) fn new(url: String, key: Option<OwnerKey>) -> Result<Self, Failure> {
        let key = key.ok_or_else(|| {
            Failure::new(
                "a key is needed: set PICLOUD_OWNER_KEY to the key that the first start of \
                 `picloud serve` prints, or PICLOUD_API_KEY to a key from `picloud keys create`",
            )
        })?;
        Ok(Self { http: http(&url, CONNECT_TIMEOUT)?, url, key })
    }

    /// Returns the server's URL with this path.
    pub(super) fn full_url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Reads a resource.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Answer<T>, CallError> {
        self.send(self.request(Method::GET, path)?).await
    }

    /// Reads a page of a list.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Page<Answer<T>>, CallError> {
        self.send(self.request(Method::GET, path)?).await
    }

    /// Creates a resource, or runs an operation on one.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Answer<T>, CallError> {
        self.send(self.request(Method::POST, path)?.json(body)).await
    }

    /// Like [`Self::post`], but the server does it only once for all calls with the same key.
    pub(super) async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        idempotency_key: &str,
    ) -> Result<Answer<T>, CallError> {
        let request = self.request(Method::POST, path)?.json(body);
        self.send(request.header("idempotency-key", idempotency_key)).await
    }

    /// Like [`Self::post`], for an operation without a body.
    pub(super) async fn post_empty<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Answer<T>, CallError> {
        self.send(self.request(Method::POST, path)?).await
    }

    /// Replaces a resource.
    pub(super) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Answer<T>, CallError> {
        self.send(self.request(Method::PUT, path)?.json(body)).await
    }

    /// Changes parts of a resource.
    pub(super) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Answer<T>, CallError> {
        self.send(self.request(Method::PATCH, path)?.json(body)).await
    }

    /// Deletes a resource, or many.
    pub(super) async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Answer<T>, CallError> {
        self.send(self.request(Method::DELETE, path)?).await
    }

    /// Downloads bytes.
    pub(super) async fn download(&self, path: &str) -> Result<Vec<u8>, CallError> {
        self.successful(self.request(Method::GET, path)?).await.map(|(_, bytes)| bytes)
    }

    /// Uploads bytes.
    pub(super) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        content: Vec<u8>,
        content_type: Option<&str>,
    ) -> Result<Answer<T>, CallError> {
        let request = self.request(Method::PUT, path)?.body(content);
        let request = match content_type {
            Some(content_type) => request.header("content-type", content_type),
            None => request,
        };
        self.send(request).await
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, CallError> {
        let url = url::exact(&self.full_url(&format!("/api/v1{path}")));
        let url = url.map_err(CallError::Unanswered)?;
        Ok(self.http.request(method, url).bearer_auth(self.key.reveal()))
    }

    async fn send<R: DeserializeOwned>(&self, request: RequestBuilder) -> Result<R, CallError> {
        let (status, bytes) = self.successful(request).await?;
        // Many operations return nothing.
        let json = if bytes.is_empty() { b"null" } else { &bytes[..] };
        serde_json::from_slice(json).map_err(|error| CallError::unreadable(status, &error))
    }

    /// Returns the status and the body of a response. An error status is an `Err`.
    async fn successful(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, Vec<u8>), CallError> {
        let response = request.send().await.map_err(|error| self.unanswered(&error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.unanswered(&error))?;
        if status.is_success() {
            Ok((status, bytes.to_vec()))
        } else {
            Err(CallError::Refused(Refused::read(status, &bytes)))
        }
    }

    fn unanswered(&self, error: &reqwest::Error) -> CallError {
        let cause = describe(error);
        CallError::Unanswered(Failure(if error.is_connect() {
            format!("cannot connect: {cause}; is `picloud serve` running at {}?", self.url)
        } else {
            cause
        }))
    }
}

/// Builds a client for a URL, with a timeout for connecting.
pub(super) fn http(url: &str, connect_timeout: Duration) -> Result<reqwest::Client, Failure> {
    // Installing it a second time changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder().connect_timeout(connect_timeout);
    if url.starts_with("http:") {
        // Otherwise the client looks for certificates, and a minimal machine has none.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| Failure::new(describe(&error)))
}

/// Returns the text of the innermost cause, which is the most specific.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
