//! A server that makes its callers wait: a script that calls it stops in the middle of its run
//! until the test releases it.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use tokio::sync::{mpsc, oneshot};

/// The server.
pub struct Gate {
    /// The URL; the script appends the number of the attempt.
    pub url: String,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
}

/// A run that waits.
pub struct Arrival {
    /// The number of the attempt.
    pub attempt: u32,
    go: oneshot::Sender<()>,
}

impl Gate {
    pub async fn open() -> Self {
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/{attempt}", get(wait)).with_state(arrived);
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { url: format!("http://{address}/"), arrivals }
    }

    /// Waits for the next run, at most a minute.
    pub async fn arrival(&mut self) -> Arrival {
        let arrival = tokio::time::timeout(Duration::from_secs(60), self.arrivals.recv()).await;
        arrival.expect("a run within a minute").expect("an open gate")
    }
}

impl Arrival {
    pub fn let_go(self) {
        self.go.send(()).expect("a run that waits");
    }
}

async fn wait(
    State(arrived): State<mpsc::UnboundedSender<Arrival>>,
    Path(attempt): Path<u32>,
) -> &'static str {
    let (go, told) = oneshot::channel();
    let _ = arrived.send(Arrival { attempt, go });
    let _ = told.await;
    "go"
}
