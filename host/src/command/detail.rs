//! Things of the API for a person to read: one with all its members, or a page of
//! many.

use serde_json::Value;

use super::execution::timestamp;
use super::terminal::one_line;
use super::{Failure, print};

/// How a list is asked for.
#[derive(clap::Args)]
pub(super) struct Paging {
    /// How many, the newest first
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=200))]
    pub(super) limit: u8,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// How something is printed.
#[derive(clap::Args)]
pub(super) struct Output {
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Output {
    /// Prints what was made: as JSON all of it, or else this text in a line.
    pub(super) fn print(&self, made: &Value, text: &str) -> Result<(), Failure> {
        print(if self.json { format!("{made:#}\n") } else { format!("{text}\n") })
    }
}

/// Prints a page: its items as JSON, or a text for each.
pub(super) fn print_page(
    page: &Value,
    as_json: bool,
    line: impl Fn(&Value) -> String,
) -> Result<(), Failure> {
    if as_json {
        return print(format!("{:#}\n", page["items"]));
    }
    let items = page["items"].as_array().into_iter().flatten();
    let text: String = items.map(|item| format!("{}\n", one_line(&line(item)))).collect();
    print(text)?;
    if !page["next_offset"].is_null() {
        eprintln!("there are more; --limit shows up to 200");
    }
    Ok(())
}

/// Prints one thing: as JSON, or these members of it.
pub(super) fn print_one(thing: &Value, as_json: bool, members: &[&str]) -> Result<(), Failure> {
    if as_json {
        return print(format!("{thing:#}\n"));
    }
    print(described(thing, members))
}

/// Members by name, a line each; those that are `null` are left out. What ends in
/// `_at` is a time.
pub(super) fn described(thing: &Value, members: &[&str]) -> String {
    let width = members.iter().map(|member| member.len()).max().unwrap_or_default();
    let mut text = String::new();
    for &member in members {
        let shown = match &thing[member] {
            Value::Null => continue,
            Value::String(value) => one_line(value).into_owned(),
            Value::Number(at) if member.ends_with("_at") => time(at.as_i64()),
            value @ (Value::Object(_) | Value::Array(_)) => {
                format!("{value:#}").replace('\n', &format!("\n{:width$}  ", ""))
            }
            value => value.to_string(),
        };
        text += &format!("{member:<width$}  {shown}\n");
    }
    text
}

/// Microseconds since 1970 as a date and time in UTC.
pub(super) fn time(at_us: Option<i64>) -> String {
    timestamp(at_us.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_thing_is_a_line_for_each_member_it_has() {
        let thing = json!({ "id": "7", "at": 3, "made_at": 0, "gone": null, "on": { "a": 1 } });
        let text = described(&thing, &["id", "at", "made_at", "gone", "on"]);
        let lines = [
            "id       7",
            "at       3",
            "made_at  1970-01-01T00:00:00.000Z",
            "on       {",
            "           \"a\": 1",
            "         }",
            "",
        ];
        assert_eq!(text, lines.join("\n"));
    }
}
