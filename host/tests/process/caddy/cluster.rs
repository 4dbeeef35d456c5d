//! Two nodes on one PostgreSQL behind `caddy/Caddyfile.cluster`.

use super::*;
use crate::database::{Kind, with_fresh_database};
use crate::gate::{Arrival, Gate};

/// The number of requests that are sent after a node has died.
const REQUESTS: usize = 50;

type Answering = tokio::task::JoinHandle<reqwest::Result<reqwest::Response>>;

struct Cluster {
    _data: TempDir,
    nodes: [Server; 2],
    caddy: Caddy,
}

impl Cluster {
    async fn start(database: &Database) -> Self {
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        compiled_guest::place(data.path());
        let settings = [("PICLOUD_PRIVATE_HOSTS", "127.0.0.1")];
        let nodes = [(); 2].map(|()| Server::start_on(data.path(), database, &settings));
        let upstreams = format!("{} {}", address(&nodes[0]), address(&nodes[1]));
        let caddy = Caddy::start("Caddyfile.cluster", &[("PICLOUD_UPSTREAMS", &upstreams)]).await;
        Self { _data: data, nodes, caddy }
    }

    /// Waits, at most a minute, until every node has loaded a script.
    async fn knows(&self, path: &str) {
        let begun = Instant::now();
        for node in &self.nodes {
            while node.call(path).await.unwrap().0 != 200 {
                assert!(begun.elapsed() < Duration::from_secs(60), "a node lacks the script");
            }
        }
    }

    /// Waits, at most a minute, until a script runs on one of the nodes, and returns which.
    async fn busy_node(&self) -> usize {
        let begun = Instant::now();
        loop {
            for (position, node) in self.nodes.iter().enumerate() {
                let metrics = node.ask("GET", "/metrics", &Value::Null).await.unwrap().body;
                if metrics.lines().any(|line| line == "picloud_slots_in_use 1") {
                    return position;
                }
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing runs");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_node_is_killed_requests_go_on() {
    with_fresh_database(Kind::Postgres, async |database: &Database| {
        let mut cluster = Cluster::start(database).await;
        deploy(&cluster.nodes[0], &[("one", "1")]).await;
        let asked = async |cluster: &Cluster| {
            let answer = cluster.caddy.get("/x/app/one").send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        cluster.knows("/x/app/one").await;
        for _ in 0..REQUESTS {
            assert_eq!(asked(&cluster).await, (200, "1".to_owned()));
        }
        cluster.nodes[0].kill();
        for _ in 0..REQUESTS {
            assert_eq!(asked(&cluster).await, (200, "1".to_owned()));
        }
    })
    .await;
}

/// Waits for the run of a request that has no response yet.
async fn arrival(gate: &mut Gate, answer: &mut Answering) -> Arrival {
    tokio::select! {
        arrival = gate.arrival() => arrival,
        answer = answer => panic!("the response came too early: {answer:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_under_way_is_repeated_only_if_it_is_a_get() {
    with_fresh_database(Kind::Postgres, async |database: &Database| {
        let mut gate = Gate::open().await;
        let wait = format!(r#"http::get("{}1"); kv::collection("c").increment("n")"#, gate.url);
        let mut cluster = Cluster::start(database).await;
        // Every node loads them in this order.
        deploy(&cluster.nodes[0], &[("wait", &wait), ("one", "1")]).await;
        cluster.knows("/x/app/one").await;

        let mut answer = tokio::spawn(cluster.caddy.get("/x/app/wait").send());
        let first = arrival(&mut gate, &mut answer).await;
        let busy = cluster.busy_node().await;
        cluster.nodes[busy].kill();
        arrival(&mut gate, &mut answer).await.let_go();
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.unwrap(), "1");
        drop((first, cluster));

        let mut cluster = Cluster::start(database).await;
        let mut answer = tokio::spawn(cluster.caddy.post("/x/app/wait").send());
        let _first = arrival(&mut gate, &mut answer).await;
        let busy = cluster.busy_node().await;
        cluster.nodes[busy].kill();
        assert_eq!(answer.await.unwrap().unwrap().status(), 502);
        // The increment of the GET.
        let count = cluster.nodes[1 - busy].find("/apps/app/kv/c/n").await;
        assert_eq!(count["value"], 1, "{count}");
    })
    .await;
}
