//! What a run came to.

use picloud_shared::calls::{LimitExceeded, log::Level};
use picloud_shared::execution::{CompileError, Position, ScriptValue};
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
    /// The script answered.
    Success,
    /// The script threw, answered what is no response, or failed to run.
    Error,
    /// It took longer than `wall_ms`.
    Timeout,
    /// It used up its `fuel`.
    BudgetExceeded,
    /// It asked for more than `memory_bytes`.
    MemoryExceeded,
    /// It reached another named limit.
    LimitExceeded,
    /// The sandbox itself failed.
    Crashed,
}

/// One execution, ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// What the script answered; there is one exactly when `status` is `Success`. That of a
    /// called script is the beginning of its value as JSON, for the log.
    pub response: Option<Response>,
    /// The last value of a called script that succeeded.
    pub value: Option<ScriptValue>,
    /// The size of the value of a called script, in bytes.
    pub value_bytes: Option<usize>,
    /// Why there is no response.
    pub failure: Option<Failure>,
    /// What the script logged, also when it failed.
    pub log: Vec<LogLine>,
    /// Wasm instructions.
    pub fuel_used: u64,
    /// The most linear memory it had, in bytes.
    pub memory_peak_bytes: u64,
    /// From the start of the run to its end, in microseconds.
    pub duration_us: i64,
    /// When it started, in microseconds since the epoch.
    pub started_at: i64,
    /// What it wants to be written, and what it saw.
    pub effects: Effects,
    /// The runs that were a part of it, in the order of their ends.
    pub called: Vec<Called>,
    /// Masks the secrets that they have read. Log and failure are masked; the response
    /// is not, and neither is what started the run.
    pub masker: Masker,
    /// What it and its callers have used of the limits of the whole run.
    pub(super) spent: Spent,
}

/// A run that another one called.
#[derive(Clone, Debug)]
pub struct Called {
    /// Its id.
    pub execution_id: ExecutionId,
    /// Who called it.
    pub parent_id: ExecutionId,
    /// The script.
    pub script_id: ScriptId,
    /// Its name.
    pub script_name: String,
    /// The version that ran.
    pub version: i64,
    /// What it came to; its effects and the runs that it called are its caller's.
    pub outcome: Outcome,
}

impl Outcome {
    /// A run that succeeded and cannot be committed, because what it has read was changed, and
    /// that cannot be made again, because it has sent a request.
    pub(crate) fn fail_in_conflict(&mut self) {
        let message = "what the script had read was changed meanwhile; it was not run again, \
                       because it had sent a request"
            .to_owned();
        self.status = Status::Error;
        self.response = None;
        self.failure = Some(Failure::new(message, Position { line: 0, column: 0 }));
        self.effects = Effects::default();
    }

    /// A run that succeeded and cannot be committed, because its app may not keep as much.
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

    /// A run that never began, because its source does not parse.
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

    /// Takes the secrets that were read out of what is told about the run.
    pub(super) fn mask(&mut self, masker: Masker) {
        self.mask_words(&masker);
        for called in &mut self.called {
            called.outcome.masker = masker.clone();
        }
        self.masker = masker;
    }

    /// Takes the caller's credentials out of what the scripts say.
    pub(super) fn mask_credentials(&mut self, credentials: &[SecretValue]) {
        let says_nothing = |outcome: &Self| outcome.log.is_empty() && outcome.failure.is_none();
        let is_silent = says_nothing(self) && self.called.iter().all(|c| says_nothing(&c.outcome));
        // A search is built for this run alone, so only when there is something to look through.
        if !credentials.is_empty() && !is_silent {
            self.mask_words(&Masker::new(credentials));
        }
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

/// How much of a called script's value is kept for the log, which shows less.
const SHOWN_BYTES_MAX: usize = 8 << 10;

/// A checked response: it can be sent as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// In the order to be sent; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// What the log shows of a value that one script handed to another.
    pub(super) fn of_value(json: &str) -> Self {
        let content_type = ("content-type".to_owned(), "application/json".to_owned());
        let head = &json[..json.floor_char_boundary(SHOWN_BYTES_MAX)];
        Self { status: 200, headers: vec![content_type], body: head.as_bytes().to_vec() }
    }
}

/// Why an execution failed, for the author of the script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Failure {
    /// In words.
    pub message: String,
    /// The script's line, from 1; `None` when it is not known.
    pub line: Option<u32>,
    /// The character in the line, from 1; `None` when it is not known.
    pub column: Option<u32>,
    /// The limit that was reached, what was used and what was allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub limit: Option<LimitExceeded>,
    /// What was thrown, as JSON text, when it was more than a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thrown: Option<String>,
    /// Whether the same run would fail again, so that an event is not tried again: the script
    /// asked for an address that is not open to it, or for a script that does not exist.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_final: bool,
}

impl Failure {
    /// A failure in words, at a place that may be unknown.
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

    /// A failure by a named limit.
    pub(super) fn limit(limit: LimitExceeded, at: Position) -> Self {
        let failure = Self::new(limit.to_string(), at);
        Self { limit: Some(limit), ..failure }
    }
}

/// One line of a script's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogLine {
    /// How important it is: `trace`, `debug`, `info`, `warn` or `error`.
    #[schema(value_type = String)]
    pub level: Level,
    /// The text.
    pub message: String,
    /// Structured data as JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The script's line that wrote it, from 1; 0 when unknown.
    pub line: u32,
}

impl LogLine {
    /// What is put where a long message was cut.
    pub(super) const CUT: char = '…';

    fn mask(&mut self, masker: &Masker) {
        let masked = match self.message.strip_suffix(Self::CUT) {
            // A secret that was read only afterwards may have been cut in two.
            Some(head) => format!("{}{}", masker.cut_text(head), Self::CUT),
            None => masker.text(&self.message).into_owned(),
        };
        self.message = masked;
        self.data = self.data.take().map(|data| masker.json_text(data));
    }
}
