//! The guest in its sandbox, without a store.
use std::sync::Arc;
use std::time::Duration;

use picloud::clock::Clock;
use picloud::executor::{Executor, Run, Settings};
use picloud::limits::Limits;
use picloud::private_hosts::PrivateHosts;
use picloud_differential::{Answer, CALL_DEPTH_MAX};
use picloud_shared::execution::{AnswerKind, ExecutionInfo, HttpRequest, Input, RunRequest};
use tempfile::TempDir;

/// An executor on a data folder of its own.
pub struct Guest {
    executor: Executor,
    _data: TempDir,
}

impl Guest {
    pub fn start() -> Self {
        let data = TempDir::new().expect("a folder");
        let settings = Settings {
            data: data.path().to_owned(),
            slots: 1,
            queue_timeout: Duration::from_secs(60),
            queue_max: 8,
            memory_bytes_ceiling: Limits::CEILING.memory_bytes_max,
            image_cache_bytes_max: 1 << 20,
            private_hosts: PrivateHosts::default(),
        };
        let executor = Executor::start(&settings, Clock::system(), None).expect("an executor");
        Self { executor, _data: data }
    }

    /// Runs a source that native Rhai has parsed, in the guest.
    pub async fn run(&self, source: &str) -> Answer {
        let image = match self.executor.compile(source).await.expect("a slot") {
            Ok(image) => image,
            Err(error) => {
                return Answer { result: Err((error.message, None)), printed: Vec::new() };
            }
        };
        let outcome = self.executor.execute_here(run(image)).await.expect("a slot");
        let result = match (outcome.response, outcome.failure) {
            (Some(response), _) => Ok(String::from_utf8_lossy(&response.body).into_owned()),
            (None, Some(failure)) => Err((failure.message, failure.thrown)),
            (None, None) => Err((format!("{:?}", outcome.status), None)),
        };
        let printed = outcome.log.into_iter().map(|line| line.message).collect();
        Answer { result, printed }.comparable()
    }
}

fn run(image: picloud::executor::Image) -> Run {
    let limits = Limits {
        log_lines_max: u64::MAX,
        log_bytes_max: u64::MAX,
        log_line_chars_max: usize::MAX,
        call_depth_max: CALL_DEPTH_MAX,
        ..Limits::CEILING
    };
    Run {
        image,
        request: RunRequest {
            execution: ExecutionInfo {
                id: String::new(),
                app: String::new(),
                script: String::new(),
                version: 1,
                attempt: 1,
            },
            input: Arc::new(Input::Http(HttpRequest::default())),
            answer: AnswerKind::Response,
            call_depth_max: CALL_DEPTH_MAX,
        },
        limits,
        app_id: None,
        execution_id: uuid::Uuid::nil().into(),
        first_execution_id: uuid::Uuid::nil().into(),
        private_hosts: Arc::default(),
        starts_here: false,
    }
}
