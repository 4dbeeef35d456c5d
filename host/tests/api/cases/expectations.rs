//! Parses the head of a case.

use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The keys whose values stay texts even if they look like numbers.
const TEXTS: [&str; 5] = ["text", "base64", "content_type", "message", "varies"];

/// The notation of an empty text.
const EMPTY: &str = "\"\"";

/// A script and its expected result.
#[derive(Debug)]
pub(crate) struct Case {
    /// The file's name.
    pub(crate) name: String,
    /// The whole file, so that errors name its line numbers.
    pub(crate) source: String,
    /// The contents of its head.
    pub(crate) expected: Expectations,
}

/// The expectations that a case can state. All other results are allowed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectations {
    /// The status of the run; `refused` if the source cannot be stored.
    pub(crate) status: String,
    /// The request, as `POST /execute/{id}` takes it.
    #[serde(default = "nothing")]
    pub(crate) request: Value,
    /// The limits that the script requests.
    pub(crate) fuel_max: Option<u64>,
    pub(crate) memory_bytes_max: Option<u64>,
    pub(crate) wall_ms_max: Option<u64>,

    /// The status of the response.
    pub(crate) http: Option<u16>,
    /// The body, as JSON.
    #[serde(default, deserialize_with = "also_null")]
    pub(crate) body: Option<Value>,
    /// The body, as text.
    pub(crate) text: Option<String>,
    /// The body, in base64.
    pub(crate) base64: Option<String>,
    /// All headers except the content type, as `name: value`, in order.
    pub(crate) headers: Option<Vec<String>>,
    /// The content type; an empty text for none.
    pub(crate) content_type: Option<String>,

    /// The position of the error.
    pub(crate) line: Option<u64>,
    pub(crate) column: Option<u64>,
    /// A text that its message contains.
    pub(crate) message: Option<String>,
    /// The thrown value, as JSON.
    #[serde(default, deserialize_with = "also_null")]
    pub(crate) thrown: Option<Value>,
    /// The exceeded limit, the amount used and the amount allowed.
    pub(crate) limit: Option<String>,
    pub(crate) used: Option<u64>,
    pub(crate) allowed: Option<u64>,

    /// The log lines, in order: the named members of each have these values. The key can be
    /// repeated, once for each line.
    pub(crate) log: Option<Vec<Value>>,
    /// The number of log lines.
    pub(crate) log_lines: Option<usize>,

    /// Why two runs can differ. Without it they must be equal, including fuel.
    pub(crate) varies: Option<String>,
}

impl Case {
    /// Reads a file.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let name = file.file_stem().and_then(|stem| stem.to_str()).ok_or("a name in UTF-8")?;
        let source = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        let expected = Expectations::read(&source)?;
        Ok(Self { name: name.to_owned(), source, expected })
    }
}

impl Expectations {
    /// Reads the head of a source.
    pub(crate) fn read(source: &str) -> Result<Self, String> {
        let head = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
        let mut paragraphs = head.skip_while(|line| !line.is_empty()).peekable();
        let begins_with_a_sentence = source.starts_with("//! ");
        if !begins_with_a_sentence || paragraphs.peek().is_none() {
            return Err("the head has to begin with a sentence and an empty line".to_owned());
        }
        let mut members = Map::new();
        for line in paragraphs.filter(|line| !line.is_empty()) {
            let (key, value) =
                line.split_once(": ").ok_or_else(|| format!("{line:?} is not `key: value`"))?;
            let is_text = TEXTS.contains(&key) && value != EMPTY;
            let json = if is_text { None } else { serde_json::from_str(value).ok() };
            let value = json.unwrap_or_else(|| Value::from(value));
            if key == "log" {
                let lines = members.entry(key).or_insert_with(|| Value::Array(Vec::new()));
                lines.as_array_mut().ok_or("log has to be lines")?.push(value);
            } else if members.insert(key.to_owned(), value).is_some() {
                return Err(format!("{key} is there twice"));
            }
        }
        serde_json::from_value(Value::Object(members)).map_err(|error| error.to_string())
    }
}

fn nothing() -> Value {
    Value::Object(Map::new())
}

/// Keeps `null` as a value, because a body can be `null`.
fn also_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read() {
        let source = "//! Sums.\n//! More.\n//!\n//! status: error\n//! line: 3\n\
            //! message: a: b\n//! log: {\"line\":1}\n//! log: {\"line\":2}\n//! body: null\n\n//! status: success\n";
        let expected = Expectations::read(source).unwrap();
        assert_eq!((expected.status.as_str(), expected.line), ("error", Some(3)));
        assert_eq!(expected.message.as_deref(), Some("a: b"));
        assert_eq!(expected.log.map(|lines| lines.len()), Some(2));
        assert_eq!(expected.body, Some(Value::Null));
    }

    #[test]
    fn a_case_that_expects_nothing_or_what_is_not_known_is_none() {
        for (source, why) in [
            ("1", "begin with a sentence"),
            ("//! Sums.\n1", "begin with a sentence"),
            ("//!\n//! status: success\n1", "begin with a sentence"),
            ("//! Sums.\n//!\n1", "status"),
            ("//! Sums.\n//!\n//! line: 3\n1", "status"),
            ("//! Sums.\n//!\n//! status: success\n//! lines: 3\n1", "lines"),
            ("//! Sums.\n//!\n//! status: success\n//! line: three\n1", "three"),
            ("//! Sums.\n//!\n//! status: success\n//! status: error\n1", "twice"),
            ("//! Sums.\n//!\n//! success\n1", "key: value"),
        ] {
            let refused = Expectations::read(source).unwrap_err();
            assert!(refused.contains(why), "{source:?}: {refused}");
        }
    }
}
