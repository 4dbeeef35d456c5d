//! What lies between a server and PostgreSQL, and fails as networks do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::database::{Database, Kind};

/// What is wrong at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Everything passes.
    None,
    /// Of every so many COMMITs one is carried out, and its answer lost with the connection.
    LosesCommits(usize),
    /// Nothing passes, and nobody is told.
    Silent,
    /// Nothing passes on connections that listen to other nodes, and nobody is told.
    Deaf,
}

/// A way to a database; it ends when it is dropped.
pub(crate) struct Proxy {
    /// The database, as it is reached this way.
    pub(crate) database: Database,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    fault: watch::Sender<Fault>,
    /// How often all connections were closed.
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

    /// From now on this is wrong.
    pub(crate) fn set(&self, fault: Fault) {
        self.shared.fault.send_replace(fault);
    }

    /// Closes every connection; new ones can be made.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many answers to a COMMIT were lost.
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

    /// Passes on what comes, until one side ends.
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

    /// Waits until something passes.
    async fn passes(&self, listens: bool) {
        let is_held = |fault: &Fault| {
            matches!(fault, Fault::Silent) || listens && matches!(fault, Fault::Deaf)
        };
        let _ = self.fault.subscribe().wait_for(|fault| !is_held(fault)).await;
    }
}

/// What a connection is used for.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    listens: bool,
    /// Whether the answer to its COMMIT is to be lost.
    loses: bool,
}

fn contains(bytes: &[u8], sought: &[u8]) -> bool {
    bytes.windows(sought.len()).any(|window| window == sought)
}
