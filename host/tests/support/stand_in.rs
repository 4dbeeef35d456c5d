//! A server on this machine that stands in for the outside, and remembers what it
//! was asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) content_type: String,
    /// Empty when there was none.
    pub(crate) idempotency_key: String,
    pub(crate) body: String,
}

/// The server; it ends when it is dropped. Scripts reach it when the app was started
/// with [`StandIn::HOST`] in `PICLOUD_PRIVATE_HOSTS`.
pub(crate) struct StandIn {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl StandIn {
    pub(crate) const HOST: &str = "127.0.0.1";

    pub(crate) async fn start() -> Self {
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

    /// What it was asked until now, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A user by the name of Ada; what is made is answered as it was sent.
fn answer(asked: &Asked) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json"), (header::ETAG, "\"1\"")];
    match &*asked.method {
        "GET" | "HEAD" => (json, r#"{"id":7,"name":"Ada"}"#.to_owned()).into_response(),
        "POST" => (StatusCode::CREATED, json, asked.body.clone()).into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}
