//! Creates and changes definitions, keys and files continuously, and checks what must exist
//! afterwards.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::ledger::Ledger;
use crate::server::Server;

/// The app with the keys and files.
const APP: &str = "kept";

/// A lane's key and file have the same number, and one run writes both; a second key is never
/// changed again. The file is large enough for several pages.
const KEEP: &str = r#"
    let lane = ctx.request.query.lane;
    let n = parse_int(ctx.request.query.n);
    kv::collection("last").set(lane, n);
    kv::collection("every").set(lane + "-" + n, n);
    let text = "" + n;
    text.pad(20000, '.');
    files::bucket("last").put(lane, text);
"#;
/// Returns the state of a lane.
const SHOW: &str = r#"
    let lane = ctx.request.query.lane;
    [kv::collection("last").get(lane), files::bucket("last").get_text(lane)]
"#;

/// Everything that the server has acknowledged.
#[derive(Default)]
pub(crate) struct Keeper {
    kept: Mutex<Kept>,
}

/// The data that must exist.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    /// Paths of the API, and the expected content.
    definitions: Vec<(String, &'static str, Value)>,
    /// The last number of each lane; all smaller numbers were acknowledged too.
    numbers: Vec<i64>,
}

pub(crate) async fn set_up(server: &Server) {
    server.create("/apps", json!({"name": APP})).await.unwrap();
    for (name, source) in [("keep", KEEP), ("show", SHOW)] {
        let script = json!({"name": name, "source": source});
        server.create(&format!("/apps/{APP}/scripts"), script).await.unwrap();
    }
}

impl Keeper {
    /// Runs a lane until the test is over.
    pub(crate) async fn work(&self, server: &Server, lane: usize, over: &AtomicBool) {
        for number in 1.. {
            if over.load(Ordering::Relaxed) {
                return;
            }
            self.define(server, &format!("app-{lane}-{number}")).await;
            let path = format!("/x/{APP}/keep?lane={lane}&n={number}");
            let (status, _) = server.call(&path).await.unwrap();
            assert_eq!(status, 200, "{path}");
            let mut kept = self.kept.lock().unwrap();
            if kept.numbers.len() <= lane {
                kept.numbers.resize(lane + 1, 0);
            }
            kept.numbers[lane] = number;
        }
    }

    /// Creates an app with a script of two versions.
    async fn define(&self, server: &Server, app: &str) {
        let keep = |path: String, field, value| {
            self.kept.lock().unwrap().definitions.push((path, field, value));
        };
        server.create("/apps", json!({"name": app})).await.unwrap();
        keep(format!("/apps/{app}"), "name", json!(app));
        let script = json!({"name": "script", "source": "1"});
        let script = server.create(&format!("/apps/{app}/scripts"), script).await.unwrap();
        let id = script["id"].as_str().unwrap().to_owned();
        keep(format!("/scripts/{id}/versions/1"), "source", json!("1"));
        let changed = json!({"source": "2"});
        let (status, _) = server.admin("PUT", &format!("/scripts/{id}"), &changed).await.unwrap();
        assert_eq!(status, 200);
        keep(format!("/scripts/{id}"), "version", json!(2));
        keep(format!("/scripts/{id}/versions/2"), "source", json!("2"));
    }

    /// Returns everything that was acknowledged so far.
    pub(crate) fn kept(&self) -> Kept {
        self.kept.lock().unwrap().clone()
    }
}

impl Kept {
    /// Whether each lane has made progress.
    pub(crate) fn is_enough(&self, lanes: usize) -> bool {
        self.numbers.len() == lanes && self.numbers.iter().all(|number| *number > 1)
    }

    /// Checks that all of it is there, and that each lane's key and file belong together.
    pub(crate) async fn check(&self, server: &Server, ledger: &mut Ledger) {
        for (path, field, value) in &self.definitions {
            let found = server.find(path).await;
            assert_eq!(&found[field], value, "{path}: {found}");
        }
        let every = ledger.counters(APP, "every").await;
        for (lane, last) in self.numbers.iter().enumerate() {
            for number in 1..=*last {
                assert_eq!(every.get(&format!("{lane}-{number}")), Some(&number));
            }
            let path = format!("/x/{APP}/show?lane={lane}");
            let shown = server.ask("GET", &path, &Value::Null).await.unwrap();
            let (number, text): (i64, String) = serde_json::from_str(&shown.body).unwrap();
            assert!(number >= *last, "{lane}: {number} was {last} already");
            assert_eq!(text.trim_end_matches('.'), number.to_string());
            assert_eq!(text.len(), 20_000);
        }
        println!("kept: {} definitions, lanes {:?}", self.definitions.len(), self.numbers);
    }
}
