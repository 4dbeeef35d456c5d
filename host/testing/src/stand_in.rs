//! A server on this machine that stands in for outside hosts, and records its requests.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub content_type: String,
    /// Empty without one.
    pub idempotency_key: String,
    pub body: String,
}

/// The server. It stops when it is dropped. Scripts can call it if the app was started with
/// [`StandIn::HOST`] in `PICLOUD_PRIVATE_HOSTS`.
pub struct StandIn {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl StandIn {
    pub const HOST: &str = "127.0.0.1";

    pub async fn start() -> Self {
        let listener = TcpListener::bind((Self::HOST, 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let remembers = Arc::clone(&asked);
        let router = Router::new().fallback(
            move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                let content_type = headers.get(header::CONTENT_TYPE);
                let content_type = content_type.map(|value| value.to_str().expect("a text"));
                let key = headers.get("idempotency-key");
                let key = key.map(|value| value.to_str().expect("a text"));
                let asked = Asked {
                    method: method.to_string(),
                    path: uri.path().to_owned(),
                    content_type: content_type.unwrap_or_default().to_owned(),
                    idempotency_key: key.unwrap_or_default().to_owned(),
                    body: String::from_utf8_lossy(&body).into_owned(),
                };
                let answer = answer(&asked);
                remembers.lock().expect("no panic").push(asked);
                std::future::ready(answer)
            },
        );
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("a server");
        });
        Self { url, asked, task }
    }

    /// Returns the requests so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns a user named Ada. Echoes what a request creates.
fn answer(asked: &Asked) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json"), (header::ETAG, "\"1\"")];
    match &*asked.method {
        "GET" | "HEAD" => (json, r#"{"id":7,"name":"Ada"}"#.to_owned()).into_response(),
        "POST" => (StatusCode::CREATED, json, asked.body.clone()).into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}
