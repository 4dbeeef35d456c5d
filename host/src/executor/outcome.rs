//! The result of a run.

use picloud_shared::calls::log::Level;
use picloud_shared::execution::{CompileError, Position, ScriptValue};
use picloud_shared::limit::LimitExceeded;
use serde::Serialize;
use utoipa::ToSchema;

use super::spent::Spent;
use crate::events::effects::Effects;
use crate::secrets::{Masker, SecretValue};
use crate::store::{ExecutionId, ScriptId, StorageFull};

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The script succeeded.
    Success,
    /// The script threw, returned an invalid response, or failed to compile.
    Error,
    /// The run took longer than `wall_ms`.
    Timeout,
    /// The run used up its `fuel`.
    BudgetExceeded,
    /// The run needed more than `memory_bytes`.
    MemoryExceeded,
    /// The run reached another named limit.
    LimitExceeded,
    /// The sandbox itself failed.
    Crashed,
}

/// A finished execution.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// The script's response, which exists exactly if `status` is `Success`. For a called script,
    /// it is the beginning of its value as JSON, for the log.
    pub response: Option<Response>,
    /// The last value of a called script that succeeded.
    pub value: Option<ScriptValue>,
    /// The size of the value of a called script, in bytes.
    pub value_bytes: Option<usize>,
    /// The reason why there is no response.
    pub failure: Option<Failure>,
    /// The script's log lines, even if it failed.
    pub log: Vec<LogLine>,
    /// The number of wasm instructions.
    pub fuel_used: u64,
    /// The peak linear memory, in bytes.
    pub memory_peak_bytes: u64,
    /// The duration of the run, in microseconds.
    pub duration_us: i64,
    /// The start time, in microseconds since the epoch.
    pub started_at: i64,
    /// The changes to commit, and the run's reads.
    pub effects: Effects,
    /// The runs that were part of it, in the order in which they ended.
    pub called: Vec<Called>,
    /// Masks the secrets that the runs have read. Log and failure are already masked. The response
    /// and the input are not.
    pub masker: Masker,
    /// The use of the whole run's limits, by this run and its callers.
    pub(super) spent: Spent,
}

/// A run that another run called.
#[derive(Clone, Debug)]
pub struct Called {
    /// Its id.
    pub execution_id: ExecutionId,
    /// The execution that called it.
    pub parent_id: ExecutionId,
    /// The script.
    pub script_id: ScriptId,
    /// Its name.
    pub script_name: String,
    /// The version that ran.
    pub version: i64,
    /// Its outcome. Its effects and the runs it called have moved to its caller.
    pub outcome: Outcome,
}

impl Outcome {
    /// Marks a successful run as failed: its reads have changed, and it cannot be repeated because
    /// it has sent a request.
    pub(crate) fn fail_in_conflict(&mut self) {
        let message = "the data that the script had read changed; it was not run again, \
                       because it had sent a request"
            .to_owned();
        self.status = Status::Error;
        self.response = None;
        self.failure = Some(Failure::new(message, Position { line: 0, column: 0 }));
        self.effects = Effects::default();
    }

    /// Marks a successful run as failed because its app has reached its storage limit.
    pub(crate) fn fail_for_want_of_storage(&mut self, full: StorageFull) {
        let number = |value: i64| u64::try_from(value).unwrap_or(0);
        let limit = LimitExceeded {
            limit: full.limit.to_owned(),
            used: number(full.used),
            allowed: number(full.most),
        };
        self.status = Status::LimitExceeded;
        self.response = None;
        self.failure = Some(Failure::limit(limit, Position::NONE));
        self.effects = Effects::default();
    }

    /// Returns the outcome of a run that never started, because its source does not compile.
    #[must_use]
    pub fn not_compiled(error: &CompileError) -> Self {
        Self {
            status: Status::Error,
            response: None,
            value: None,
            value_bytes: None,
            failure: Some(Failure::new(&error.message, error.position)),
            log: Vec::new(),
            fuel_used: 0,
            memory_peak_bytes: 0,
            duration_us: 0,
            started_at: 0,
            effects: Effects::default(),
            called: Vec::new(),
            masker: Masker::default(),
            spent: Spent::default(),
        }
    }

    /// Masks the secrets in log lines and failures.
    pub(super) fn mask(&mut self, masker: Masker) {
        self.mask_words(&masker);
        for called in &mut self.called {
            called.outcome.masker = masker.clone();
        }
        self.masker = masker;
    }

    /// Masks the caller's credentials in log lines and failures.
    pub(super) fn mask_credentials(&mut self, credentials: &[SecretValue]) {
        let says_nothing = |outcome: &Self| outcome.log.is_empty() && outcome.failure.is_none();
        let is_silent = says_nothing(self) && self.called.iter().all(|c| says_nothing(&c.outcome));
        // The search serves only this run, so it is built only if there is text to search.
        if !credentials.is_empty() && !is_silent {
            self.mask_words(&Masker::new(credentials));
        }
    }

    /// Returns the size of the log of the run and of those that it called.
    pub(super) fn log_bytes(&self) -> usize {
        let called = self.called.iter().flat_map(|called| &called.outcome.log);
        let bytes = |line: &LogLine| line.message.len() + line.data.as_ref().map_or(0, String::len);
        self.log.iter().chain(called).map(bytes).sum()
    }

    fn mask_words(&mut self, masker: &Masker) {
        if masker.is_none() {
            return;
        }
        let log = self.called.iter_mut().flat_map(|called| &mut called.outcome.log);
        log.chain(&mut self.log).for_each(|line| line.mask(masker));
        let failures = self.called.iter_mut().map(|called| &mut called.outcome.failure);
        for failure in failures.chain([&mut self.failure]).flatten() {
            failure.mask(masker);
        }
    }
}

/// The part of a called script's value that is kept for the log, which shows less.
const SHOWN_BYTES_MAX: usize = 8 << 10;

/// A checked response, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, 200 to 599.
    pub status: u16,
    /// The headers in order, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns a response for the log, from a value that one script passed to another.
    pub(super) fn of_value(json: &str) -> Self {
        let content_type = ("content-type".to_owned(), "application/json".to_owned());
        let head = &json[..json.floor_char_boundary(SHOWN_BYTES_MAX)];
        Self { status: 200, headers: vec![content_type], body: head.as_bytes().to_vec() }
    }
}

/// The reason why an execution failed, for the author of the script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Failure {
    /// The error message.
    pub message: String,
    /// The script's line, from 1; `None` if it is unknown.
    pub line: Option<u32>,
    /// The character in the line, from 1; `None` if it is unknown.
    pub column: Option<u32>,
    /// The limit that was reached, the used amount and the allowed amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub limit: Option<LimitExceeded>,
    /// The thrown value as JSON text, if it is not a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thrown: Option<String>,
    /// Whether the same run would fail again, so that its event is not retried: the script named an
    /// address that is not open to it, or a script that does not exist.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_final: bool,
}

impl Failure {
    /// Creates a failure from a message and a position, which can be unknown.
    pub(super) fn new(message: impl Into<String>, at: Position) -> Self {
        Self {
            message: message.into(),
            line: (at.line > 0).then_some(at.line),
            column: (at.column > 0).then_some(at.column),
            limit: None,
            thrown: None,
            is_final: false,
        }
    }

    fn mask(&mut self, masker: &Masker) {
        self.message = masker.text(&self.message).into_owned();
        self.thrown = self.thrown.take().map(|thrown| masker.json_text(thrown));
    }

    /// Creates a failure from a named limit.
    pub(super) fn limit(limit: LimitExceeded, at: Position) -> Self {
        let failure = Self::new(limit.to_string(), at);
        Self { limit: Some(limit), ..failure }
    }
}

/// One line of a script's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogLine {
    /// The severity: `trace`, `debug`, `info`, `warn` or `error`.
    #[schema(value_type = String)]
    pub level: Level,
    /// The text.
    pub message: String,
    /// Structured data as JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The number of the script's line that wrote it, from 1; 0 if unknown.
    pub line: u32,
}

impl LogLine {
    /// Marks the place where a long message was cut.
    pub(super) const CUT: char = '…';

    fn mask(&mut self, masker: &Masker) {
        let masked = match self.message.strip_suffix(Self::CUT) {
            // A secret that was read later may have been cut in two.
            Some(head) => format!("{}{}", masker.cut_text(head), Self::CUT),
            None => masker.text(&self.message).into_owned(),
        };
        self.message = masked;
        self.data = self.data.take().map(|data| masker.json_text(data));
    }
}
