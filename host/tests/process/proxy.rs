//! A proxy between a server and PostgreSQL that fails like a network.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::database::{Database, Kind};

/// The current fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Everything is forwarded.
    None,
    /// One in this number of COMMITs is executed, and its response is lost with the connection.
    LosesCommits(usize),
    /// Nothing is forwarded, and connections stay open.
    Silent,
    /// Nothing is forwarded on connections that listen to other nodes, and they stay open.
    Deaf,
}

/// A proxy to a database. It stops when it is dropped.
pub(crate) struct Proxy {
    /// The database, with the address of the proxy.
    pub(crate) database: Database,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    fault: watch::Sender<Fault>,
    /// The number of times that all connections were closed.
    cuts: watch::Sender<usize>,
    commits: AtomicUsize,
    lost: AtomicUsize,
}

impl Proxy {
    pub(crate) async fn start(database: &Database) -> Self {
        let mut url: url::Url = database.plain_url.parse().expect("a URL");
        let upstream = format!(
            "{}:{}",
            url.host_str().expect("a host"),
            url.port().expect("a port of its own")
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        url.set_port(Some(port)).expect("a port");
        url.set_host(Some("127.0.0.1")).expect("a host");
        let plain_url = url.to_string();
        let shared = Arc::new(Shared {
            upstream,
            fault: watch::channel(Fault::None).0,
            cuts: watch::channel(0).0,
            commits: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
        });
        let task = tokio::spawn(Arc::clone(&shared).accept(listener));
        let database =
            Database { kind: Kind::Postgres, url: plain_url.parse().expect("a URL"), plain_url };
        Self { database, shared, task }
    }

    /// Sets the current fault.
    pub(crate) fn set(&self, fault: Fault) {
        self.shared.fault.send_replace(fault);
    }

    /// Closes every connection; new ones can be opened.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Returns the number of lost responses to a COMMIT.
    pub(crate) fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

impl Shared {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (client, _) = listener.accept().await.expect("a connection");
            tokio::spawn(Arc::clone(&self).pass(client));
        }
    }

    /// Forwards data until one side closes.
    async fn pass(self: Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(&self.upstream).await else { return };
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        let (told, seen) = watch::channel(Seen::default());
        let mut cuts = self.cuts.subscribe();
        tokio::select! {
            () = self.up(from_client, to_server, &told) => {}
            () = self.down(from_server, to_client, seen) => {}
            _ = cuts.changed() => {}
        }
    }

    async fn up(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        told: &watch::Sender<Seen>,
    ) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let bytes = &buffer[..count];
            if contains(bytes, b"LISTEN ") {
                told.send_modify(|seen| seen.listens = true);
            }
            if contains(bytes, b"COMMIT\0") {
                let count = self.commits.fetch_add(1, Ordering::Relaxed);
                if let Fault::LosesCommits(every) = *self.fault.borrow()
                    && count.is_multiple_of(every)
                {
                    told.send_modify(|seen| seen.loses = true);
                }
            }
            let listens = told.borrow().listens;
            self.passes(listens).await;
            if to.write_all(bytes).await.is_err() {
                return;
            }
        }
    }

    async fn down(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        seen: watch::Receiver<Seen>,
    ) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let bytes = &buffer[..count];
            let Seen { listens, loses } = *seen.borrow();
            if loses && contains(bytes, b"COMMIT\0") {
                self.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            self.passes(listens).await;
            if to.write_all(bytes).await.is_err() {
                return;
            }
        }
    }

    /// Waits until data is forwarded.
    async fn passes(&self, listens: bool) {
        let is_held = |fault: &Fault| {
            matches!(fault, Fault::Silent) || listens && matches!(fault, Fault::Deaf)
        };
        let _ = self.fault.subscribe().wait_for(|fault| !is_held(fault)).await;
    }
}

/// The use of a connection.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    listens: bool,
    /// Whether the response to its COMMIT is lost.
    loses: bool,
}

fn contains(bytes: &[u8], sought: &[u8]) -> bool {
    bytes.windows(sought.len()).any(|window| window == sought)
}
