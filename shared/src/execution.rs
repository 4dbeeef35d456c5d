//! What the host hands to `compile` and `run`, and what they answer.

use serde::{Deserialize, Serialize};

use crate::calls::LimitExceeded;

/// A place in a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// From 1; 0 when unknown.
    pub line: u32,
    /// In characters, from 1; 0 when unknown.
    pub column: u32,
}

impl Position {
    /// An unknown place.
    pub const NONE: Self = Self { line: 0, column: 0 };

    /// The place as one number: what the guest's export `place` returns.
    #[must_use]
    pub fn pack(self) -> u64 {
        u64::from(self.line) << 32 | u64::from(self.column)
    }

    /// The place that [`Position::pack`] made `packed` of.
    #[must_use]
    pub fn unpack(packed: u64) -> Self {
        Self { line: (packed >> 32) as u32, column: packed as u32 }
    }
}

/// Why a source is no script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileError {
    /// The parser's words.
    pub message: String,
    /// Where it stopped.
    pub position: Position,
}

/// The answer of `compile`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiled {
    /// Where in guest memory the address of the instruction under way lies, as four
    /// little-endian bytes. The host reads it when a run did not answer, and asks the
    /// export `place` which place of the script that is.
    pub instruction_ptr: u32,
}

/// The answer of `compile`.
pub type CompileReply = Result<Compiled, CompileError>;

/// Everything one run gets to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// Who runs: `ctx.execution`, `ctx.app`, `ctx.script`.
    pub execution: ExecutionInfo,
    /// What started it.
    pub input: Input,
    /// What the script's last value becomes.
    pub answer: AnswerKind,
    /// How deep script functions may call each other.
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
    /// From 1.
    pub attempt: u32,
}

/// What started a run.
#[expect(clippy::large_enum_variant, reason = "there is one in a run, and it is encoded at once")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A request: `ctx.request`.
    Http(HttpRequest),
    /// An event: `ctx.event`, JSON text.
    Event(String),
}

/// A request as a script sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// Upper case.
    pub method: String,
    /// Percent-encoded, as it came, without the query.
    pub path: String,
    /// The path parameters of the route, decoded.
    pub params: Vec<(String, String)>,
    /// The query, decoded, in order; a name may come more than once.
    pub query: Vec<(String, String)>,
    /// The query as it came, without `?`.
    pub raw_query: String,
    /// Names in lower case; values of one name are joined with `, `.
    pub headers: Vec<(String, String)>,
    /// The address of the caller.
    pub remote_address: String,
    /// The body's bytes, without their `Content-Encoding`.
    #[serde(with = "bytes")]
    pub raw: Vec<u8>,
    /// How `ctx.request.body` is made of them.
    pub body: BodyKind,
    /// The body as a text, where that is not in UTF-8.
    pub text: Option<String>,
    /// The fields of a form, in order; a name may come more than once.
    pub form: Vec<(String, String)>,
    /// The files of a form, in order.
    pub files: Vec<FormFile>,
}

/// A file of a form (RFC 7578).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormFile {
    /// The name of the form's field.
    pub name: String,
    /// What the sender calls the file. It is no path.
    pub file_name: String,
    /// What kind of content the sender says it is.
    pub content_type: String,
    /// Its bytes.
    #[serde(with = "bytes")]
    pub content: Vec<u8>,
}

/// A text's bytes without the byte order mark that some programs put before UTF-8.
#[must_use]
pub fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// How a body is shown to a script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyKind {
    /// No body: `()`.
    #[default]
    Empty,
    /// Parsed. The host has checked that it parses.
    Json,
    /// A string. The host has checked that it is UTF-8.
    Text,
    /// A blob.
    Binary,
}

/// What a script's last value becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerKind {
    /// An [`Answer::Response`].
    #[default]
    Response,
    /// An [`Answer::Value`].
    Value,
}

/// The answer of `run`.
pub type RunReply = Result<Answer, RunError>;

/// What a script answered, as [`RunRequest::answer`] asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// For an HTTP caller.
    Response(HttpResponse),
    /// For a script.
    Value(ScriptValue),
}

/// A value that one script hands to another: all that JSON and blobs can hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptValue {
    /// JSON text, with `null` in the place of each blob.
    pub json: String,
    /// The blobs, in the order of their places.
    pub blobs: Vec<ScriptBlob>,
}

/// A blob in a [`ScriptValue`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptBlob {
    /// Which `null` of the JSON text it stands for, from 0.
    pub null: u32,
    /// Its content.
    #[serde(with = "bytes")]
    pub bytes: Vec<u8>,
}

impl ScriptValue {
    /// The size that counts against a limit, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.json.len() + self.blobs.iter().map(|blob| blob.bytes.len()).sum::<usize>()
    }
}

/// What a script answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// As the script gave it; the host checks it.
    pub status: i64,
    /// As the script gave them; the host checks them.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    #[serde(with = "bytes")]
    pub body: Vec<u8>,
    /// The content type that follows from the value, unless a header says
    /// otherwise; empty for none.
    pub content_type: String,
}

/// Why a run has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// What kind of end it was.
    pub kind: RunErrorKind,
    /// In words.
    pub message: String,
    /// What was thrown, as JSON text, when it was more than a string.
    pub thrown: Option<String>,
    /// Where.
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

/// Bytes as one block: serde's default for a vector visits every byte.
pub(crate) mod bytes {
    use serde::{Deserializer, Serializer, de::Visitor};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a block of bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        from.deserialize_byte_buf(Bytes)
    }
}
