//! A DNS server on this machine that serves the given TXT records (RFC 1035).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// The length of a message's header.
const HEADER_BYTES: usize = 12;

/// The server. It stops when it is dropped.
pub struct Dns {
    pub address: SocketAddr,
    records: Arc<Mutex<HashMap<String, Vec<String>>>>,
    task: JoinHandle<()>,
}

impl Dns {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let records = Arc::<Mutex<HashMap<String, Vec<String>>>>::default();
        let known = Arc::clone(&records);
        let task = tokio::spawn(async move {
            let mut query = [0; 512];
            loop {
                let (length, peer) = socket.recv_from(&mut query).await.expect("a query");
                let texts = |name: &str| known.lock().expect("no panic").get(name).cloned();
                let reply = reply(&query[..length], texts);
                socket.send_to(&reply, peer).await.expect("a reply");
            }
        });
        Self { address, records, task }
    }

    /// Adds a TXT record.
    pub fn add(&self, name: &str, text: &str) {
        let mut records = self.records.lock().expect("no panic");
        records.entry(name.to_owned()).or_default().push(text.to_owned());
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn reply(query: &[u8], texts: impl Fn(&str) -> Option<Vec<String>>) -> Vec<u8> {
    let (mut at, mut labels) = (HEADER_BYTES, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    let question = &query[HEADER_BYTES..at + 5];
    let is_text = query[at + 1..at + 3] == [0, 16];
    let found = texts(&labels.join("."));
    let records = found.clone().filter(|_| is_text).unwrap_or_default();
    let mut reply = query[..2].to_vec();
    // A response to a recursive query; a name without records does not exist.
    reply.extend([0x81, if found.is_some() { 0x80 } else { 0x83 }, 0, 1, 0]);
    reply.push(u8::try_from(records.len()).expect("few records"));
    reply.extend([0; 4]);
    reply.extend(question);
    for text in records {
        let length = u8::try_from(text.len()).expect("a short text");
        // The name of the question, TXT, IN, a TTL of an hour.
        reply.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 14, 16, 0, length + 1, length]);
        reply.extend(text.as_bytes());
    }
    reply
}
