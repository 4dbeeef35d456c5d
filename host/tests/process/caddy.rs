//! Caddy with the files of `caddy/` in front of the real binary: requests, responses, and the death
//! of a node.
//!
//! Each Caddy creates its own certificate authority in a temporary folder; no other client trusts
//! it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::compiled_guest;
use crate::database::Database;
use crate::server::{OWNER_KEY, Server};

mod cluster;
mod single;

/// A running Caddy. It is killed when it is dropped.
struct Caddy {
    process: Child,
    /// A client that trusts only this Caddy, and resolves `localhost` to its port.
    http: reqwest::Client,
    url: String,
    _folder: TempDir,
}

fn file(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../caddy")).join(name)
}

/// Returns a `caddy` command that stores all its data in `folder`.
fn caddy(folder: &Path) -> Command {
    let mut command = Command::new("caddy");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    command
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Caddy {
    /// Starts it with one of the project's files, unchanged, on loopback ports, and waits for its
    /// first response.
    async fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let (https, http) = (free_port(), free_port());
        let config = folder.path().join("Caddyfile");
        let options = format!(
            "{{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n\tdefault_bind 127.0.0.1\n\
             \thttps_port {https}\n\thttp_port {http}\n}}\nimport {}\n",
            file(name).display()
        );
        std::fs::write(&config, options).expect("a file");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let process = caddy(folder.path())
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(&config)
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("caddy is missing: sudo apt-get install caddy");
        let root = folder.path().join("caddy/pki/authorities/local/root.crt");
        let mut caddy = Self {
            process,
            http: reqwest::Client::new(),
            url: format!("https://localhost:{https}"),
            _folder: folder,
        };
        caddy.http = client(&caddy.ready(&root).await, https);
        caddy.answers().await;
        caddy
    }

    /// Waits, at most a minute, for the certificate of its authority, and returns it.
    async fn ready(&mut self, root: &Path) -> Vec<u8> {
        let begun = Instant::now();
        loop {
            match std::fs::read(root) {
                Ok(root) if root.ends_with(b"-----END CERTIFICATE-----\n") => return root,
                _ => {}
            }
            let ended = self.process.try_wait().expect("the state of the process");
            let log = || std::fs::read_to_string(self._folder.path().join("log"));
            assert!(ended.is_none(), "caddy has ended: {:?}", log());
            assert!(begun.elapsed() < Duration::from_secs(60), "no certificate: {:?}", log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits, at most a minute, for any response through it.
    async fn answers(&self) {
        let begun = Instant::now();
        loop {
            match self.get("/health/live").send().await {
                Ok(answer) if answer.status() == 200 => return,
                other => assert!(begun.elapsed() < Duration::from_secs(60), "{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.url))
    }
}

impl Drop for Caddy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Builds a client that trusts one authority.
fn client(root: &[u8], port: u16) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(root).expect("a certificate");
    reqwest::Client::builder()
        // The tests inspect the encoded responses.
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .tls_certs_only([root])
        .resolve("localhost", SocketAddr::from(([127, 0, 0, 1], port)))
        .build()
        .expect("a client")
}

/// Deploys scripts into the app `app`.
async fn deploy(server: &Server, scripts: &[(&str, &str)]) {
    server.create("/apps", json!({"name": "app"})).await.unwrap();
    for (name, source) in scripts {
        let script = json!({"name": name, "source": source});
        server.create("/apps/app/scripts", script).await.unwrap();
    }
}

#[test]
fn the_files_are_valid_and_formatted() {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for name in ["Caddyfile", "Caddyfile.cluster"] {
        let valid = caddy(folder.path()).args(["validate", "--config"]).arg(file(name)).output();
        let valid = valid.expect("caddy is missing: sudo apt-get install caddy");
        assert!(valid.status.success(), "{valid:?}");
        let formatted = caddy(folder.path()).arg("fmt").arg(file(name)).output().unwrap();
        let formatted = String::from_utf8(formatted.stdout).unwrap();
        assert_eq!(formatted, std::fs::read_to_string(file(name)).unwrap(), "{name}");
    }
}

fn address(server: &Server) -> &str {
    server.url.strip_prefix("http://").expect("a URL")
}
