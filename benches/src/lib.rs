//! Shared by the benches: the scripts, and functions to run them in a sandbox and natively.
//!
//! A script sees its request as `ctx.request` in the sandbox and natively, so that both do the same
//! work.

pub mod events;
pub mod functions;

use std::sync::Arc;
use std::time::Duration;

use picloud::clock::Clock;
use picloud::executor::{Executor, Image, Run, Settings, Status};
use picloud::limits::Limits;
use picloud::private_hosts::PrivateHosts;
use picloud_shared::execution::{
    AnswerKind, BodyKind, ExecutionInfo, HttpRequest, Input, RunRequest,
};
use rhai::{AST, Dynamic, Engine, Scope};
use tempfile::TempDir;

/// The body that every bench sends.
pub const BODY: &str = r#"{"name":"Ada","items":[{"price":3,"count":2},{"price":5,"count":1}]}"#;

/// A script that returns its request's body.
pub const ECHO: &str = "ctx.request.body";

/// An ordinary handler of twelve lines.
pub const HANDLER: &str = include_str!("../scripts/handler.rhai");

/// The scripts of the interpreter benches: name and source.
pub const INTERPRETER: [(&str, &str); 6] = [
    ("loop", include_str!("../scripts/loop.rhai")),
    ("fib", include_str!("../scripts/fib.rhai")),
    ("sieve", include_str!("../scripts/sieve.rhai")),
    ("json", include_str!("../scripts/json.rhai")),
    ("string", include_str!("../scripts/string.rhai")),
    ("map", include_str!("../scripts/map.rhai")),
];

/// An executor with its own data folder.
pub struct Sandboxes {
    /// The executor.
    pub executor: Executor,
    _data: TempDir,
}

impl Sandboxes {
    /// Compiles the guest, which takes seconds.
    ///
    /// # Panics
    /// If the disk has no space for it.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a bench that cannot start has nothing to measure")]
    pub fn start() -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let settings = Settings {
            data: data.path().to_owned(),
            slots: 64,
            queue_timeout: Duration::from_secs(10),
            queue_max: 1024,
            memory_bytes_ceiling: Limits::CEILING.memory_bytes_max,
            image_cache_bytes_max: 64 << 20,
            private_hosts: PrivateHosts::default(),
        };
        let executor = Executor::start(&settings, Clock::system(), None).expect("an executor");
        Self { executor, _data: data }
    }

    /// Returns the image of a script.
    ///
    /// # Panics
    /// If the script does not parse.
    #[expect(clippy::expect_used, reason = "a bench that cannot start has nothing to measure")]
    pub async fn image(&self, source: &str) -> Image {
        self.executor.compile(source).await.expect("a slot").expect("a script")
    }
}

/// Runs a script once, like the ingress does.
///
/// # Panics
/// If the script fails.
#[expect(clippy::expect_used, reason = "a failed run must not count as a fast one")]
pub async fn run_once(executor: &Executor, image: Image) {
    let outcome = executor.execute(run(image)).await.expect("a slot");
    assert_eq!(outcome.status, Status::Success, "{:?}", outcome.failure);
}

/// Runs a script once on the caller's thread.
///
/// # Panics
/// If the script fails.
#[expect(clippy::expect_used, reason = "a failed run must not count as a fast one")]
pub async fn run_once_here(executor: &Executor, image: &Image) {
    let outcome = executor.execute_here(run(image.clone())).await.expect("a slot");
    assert_eq!(outcome.status, Status::Success, "{:?}", outcome.failure);
}

fn run(image: Image) -> Run {
    Run {
        image,
        request: request(),
        limits: Limits { fuel_max: Limits::CEILING.fuel_max, ..Limits::DEFAULT },
        app_id: None,
        execution_id: uuid::Uuid::nil().into(),
        first_execution_id: uuid::Uuid::nil().into(),
        private_hosts: Arc::default(),
        starts_here: true,
    }
}

/// Returns the request that every bench sends.
#[must_use]
pub fn request() -> RunRequest<Arc<Input>> {
    RunRequest {
        execution: ExecutionInfo {
            id: "0197f3a4-5c1e-7b7a-8f6e-3d2c1b0a9f8e".to_owned(),
            app: "bench".to_owned(),
            script: "bench".to_owned(),
            version: 1,
            attempt: 1,
        },
        input: Arc::new(Input::Http(HttpRequest {
            method: "POST".to_owned(),
            path: "/x/bench/bench".to_owned(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            remote_address: "127.0.0.1".to_owned(),
            raw: BODY.as_bytes().to_vec(),
            body: BodyKind::Json,
            ..HttpRequest::default()
        })),
        call_depth_max: 64,
        answer: AnswerKind::Response,
    }
}

/// Returns a native engine with all functions that scripts have in a sandbox.
#[must_use]
pub fn equipped_engine() -> Engine {
    picloud_guest::engine::build()
}

/// Returns a native engine with only Rhai's own functions and without metering, which is the
/// fastest configuration.
#[must_use]
pub fn native_engine() -> Engine {
    let mut engine = Engine::new();
    engine.set_max_expr_depths(64, 32);
    engine
}

/// Runs a parsed script natively once, from the bytes of the request to the bytes of the response.
///
/// # Panics
/// If the script fails.
#[must_use]
#[expect(clippy::expect_used, reason = "a failed run must not count as a fast one")]
pub fn run_natively(engine: &Engine, ast: &AST) -> Vec<u8> {
    let body: Dynamic = serde_json::from_str(BODY).expect("JSON");
    let request = rhai::Map::from_iter([("body".into(), body)]);
    let ctx = rhai::Map::from_iter([("request".into(), request.into())]);
    let mut scope = Scope::new();
    scope.push_constant("ctx", ctx);
    let value: Dynamic = engine.eval_ast_with_scope(&mut scope, ast).expect("a result");
    serde_json::to_vec(&value).expect("JSON")
}
