//! Shows a resource for people: a row for each of its fields.

use std::fmt;

use picloud::json::Verbatim;
use serde::Serialize;
use serde_json::Value;

use super::terminal::one_line;
use super::time::time;

/// The rows of a resource: a label, and the value if the field has one. Labels are aligned. A row
/// without a value is not shown.
#[derive(Default)]
pub(super) struct Rows(Vec<(&'static str, Option<String>)>);

impl Rows {
    /// Adds a text or a number.
    pub(super) fn text(self, label: &'static str, value: impl fmt::Display) -> Self {
        self.maybe(label, Some(value))
    }

    /// Adds a text or a number that can be missing.
    pub(super) fn maybe(self, label: &'static str, value: Option<impl fmt::Display>) -> Self {
        let value = value.map(|value| one_line(&value.to_string()).into_owned());
        self.row(label, value)
    }

    /// Adds a time, in microseconds since 1970, that can be missing.
    pub(super) fn time(self, label: &'static str, at_us: impl Into<Option<i64>>) -> Self {
        let value = at_us.into().map(time);
        self.row(label, value)
    }

    /// Adds a part of the resource, as JSON on indented lines.
    pub(super) fn json(self, label: &'static str, part: &impl Serialize) -> Self {
        // This cannot fail: the part was read from JSON.
        self.any(label, &Verbatim(serde_json::to_value(part).unwrap_or_default()))
    }

    /// Adds a value that a script made: a text as it is, anything else as JSON.
    pub(super) fn any(self, label: &'static str, value: &Verbatim) -> Self {
        let value = match &value.0 {
            Value::Null => None,
            Value::String(text) => Some(one_line(text).into_owned()),
            json => Some(format!("{json:#}")),
        };
        self.row(label, value)
    }

    fn row(mut self, label: &'static str, value: Option<String>) -> Self {
        self.0.push((label, value));
        self
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
        for (label, value) in &self.0 {
            if let Some(value) = value {
                let value = value.replace('\n', &format!("\n{:width$}  ", ""));
                writeln!(f, "{label:<width$}  {value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_resource_is_a_row_for_each_value_it_has() {
        let rows = Rows::default()
            .text("id", "7\n8")
            .text("at", 3)
            .time("made_at", 0)
            .time("used_at", None)
            .maybe("description", None::<&str>)
            .any("value", &Verbatim(json!("a\u{7}")))
            .any("nothing", &Verbatim(Value::Null))
            .json("on", &json!({ "a": 1 }));
        let lines = [
            "id           7\\n8",
            "at           3",
            "made_at      1970-01-01T00:00:00.000Z",
            "value        a\\u0007",
            "on           {",
            "               \"a\": 1",
            "             }",
            "",
        ];
        assert_eq!(rows.to_string(), lines.join("\n"));
    }
}
