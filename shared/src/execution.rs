//! The requests and replies of `compile` and `run`.

use serde::{Deserialize, Serialize};

use crate::limit::LimitExceeded;

/// A position in a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The line, from 1; 0 if unknown.
    pub line: u32,
    /// The column in characters, from 1; 0 if unknown.
    pub column: u32,
}

impl Position {
    /// An unknown position.
    pub const NONE: Self = Self { line: 0, column: 0 };

    /// Packs the position into one number, which the guest's export `place` returns.
    #[must_use]
    pub fn pack(self) -> u64 {
        u64::from(self.line) << 32 | u64::from(self.column)
    }

    /// The inverse of [`Position::pack`].
    #[must_use]
    pub fn unpack(packed: u64) -> Self {
        Self { line: (packed >> 32) as u32, column: packed as u32 }
    }
}

/// The reason why a source does not compile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileError {
    /// The parser's message.
    pub message: String,
    /// The position of the error.
    pub position: Position,
}

/// The reply of `compile`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiled {
    /// The place in guest memory of the current instruction's address, as four little-endian bytes.
    /// The host reads it after a run that trapped, and asks the export `place` for the position in
    /// the script.
    pub instruction_ptr: u32,
}

/// The reply of `compile`.
pub type CompileReply = Result<Compiled, CompileError>;

/// All input of a run. The host encodes an input that it shares, the guest decodes its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest<I = Input> {
    /// The identity of the run: `ctx.execution`, `ctx.app`, `ctx.script`.
    pub execution: ExecutionInfo,
    /// The request or event that started it.
    pub input: I,
    /// How the script's last value is returned.
    pub answer: AnswerKind,
    /// The maximum depth of nested script function calls.
    pub call_depth_max: u32,
}

/// The identity of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionInfo {
    /// The execution's id.
    pub id: String,
    /// The app's name.
    pub app: String,
    /// The script's name.
    pub script: String,
    /// The script's version.
    pub version: i64,
    /// The attempt, counted from 1.
    pub attempt: u32,
}

/// The request or event that started a run.
#[expect(clippy::large_enum_variant, reason = "there is one in a run, and it is encoded at once")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A request: `ctx.request`.
    Http(HttpRequest),
    /// An event: `ctx.event`, as JSON text.
    Event(String),
}

/// A request as a script sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// The method, in upper case.
    pub method: String,
    /// The path without the query, percent-encoded as it was sent.
    pub path: String,
    /// The path parameters of the route, decoded.
    pub params: Vec<(String, String)>,
    /// The query, decoded, in order. A name can occur more than once.
    pub query: Vec<(String, String)>,
    /// The query as it was sent, without `?`.
    pub raw_query: String,
    /// The headers, with names in lower case. Values of the same name are joined with `, `.
    pub headers: Vec<(String, String)>,
    /// The address of the caller.
    pub remote_address: String,
    /// The body's bytes, without their `Content-Encoding`.
    #[serde(with = "serde_bytes")]
    pub raw: Vec<u8>,
    /// How `ctx.request.body` is made from the bytes.
    pub body: BodyKind,
    /// The body as text if its charset is not UTF-8.
    pub text: Option<String>,
    /// The fields of a form, in order. A name can occur more than once.
    pub form: Vec<(String, String)>,
    /// The files of a form, in order.
    pub files: Vec<FormFile>,
}

/// A file of a form (RFC 7578).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormFile {
    /// The name of the form's field.
    pub name: String,
    /// The file name that the sender gave. It is not a path.
    pub file_name: String,
    /// The content type that the sender gave.
    pub content_type: String,
    /// The content.
    #[serde(with = "serde_bytes")]
    pub content: Vec<u8>,
}

/// Returns a text without the byte order mark that some programs put before UTF-8.
#[must_use]
pub fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// The form in which a script sees a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyKind {
    /// No body: `()`.
    #[default]
    Empty,
    /// The parsed value. The host has checked that it parses.
    Json,
    /// A string. The host has checked that it is UTF-8.
    Text,
    /// A blob.
    Binary,
}

/// How a script's last value is returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerKind {
    /// As an [`Answer::Response`].
    #[default]
    Response,
    /// As an [`Answer::Value`].
    Value,
}

/// The reply of `run`.
pub type RunReply = Result<Answer, RunError>;

/// The result of a script, in the form that [`RunRequest::answer`] asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// For an HTTP caller.
    Response(HttpResponse),
    /// For a script.
    Value(ScriptValue),
}

/// A value passed between scripts: everything that JSON and blobs can represent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptValue {
    /// JSON text, with `null` in place of each blob.
    pub json: String,
    /// The blobs, in the order of those `null`s.
    pub blobs: Vec<ScriptBlob>,
}

/// A blob in a [`ScriptValue`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptBlob {
    /// The index of its `null` among all `null`s of the JSON text, from 0.
    pub null: u32,
    /// Its content.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

impl ScriptValue {
    /// Returns the size that counts against a limit, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.json.len() + self.blobs.iter().map(|blob| blob.bytes.len()).sum::<usize>()
    }
}

/// The response of a script.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// The status as the script gave it; the host checks it.
    pub status: i64,
    /// The headers as the script gave them; the host checks them.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// The content type that follows from the value, unless a header states one; empty if the body
    /// has no type.
    pub content_type: String,
}

/// The reason why a run has no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// The kind of error.
    pub kind: RunErrorKind,
    /// The error message.
    pub message: String,
    /// The thrown value as JSON text, if it is neither a string nor empty.
    pub thrown: Option<String>,
    /// The position of the error.
    pub position: Position,
}

/// The kinds of [`RunError`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunErrorKind {
    /// The script threw, or the interpreter refused an operation.
    Script,
    /// A named limit was reached.
    Limit(LimitExceeded),
}
