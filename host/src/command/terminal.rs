//! Makes text from other sources safe for a terminal.
//!
//! The log of a script can contain text of its callers. Control characters in it could move the
//! cursor, set the title, or forge lines.

use std::borrow::Cow;

/// Replaces control characters, except line feeds and tabs, by `\u001b` escapes. JSON stays JSON.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.is_control() && !matches!(c, '\n' | '\t'))
}

/// Like [`visible`], but in one line. Tabs separate its columns.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.is_control() && c != '\t')
}

/// Like [`visible`], with further lines indented, so that none looks like a new entry.
pub(super) fn indented(text: &str, spaces: usize) -> String {
    visible(text).replace('\n', &format!("\n{:spaces$}", ""))
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !is_escaped(c) => escaped.push(c),
            '\n' => escaped.push_str("\\n"),
            c => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_controlled() {
        let text = "a\tb\u{1b}[31m\u{7}\r\u{9b}2J\u{7f}\nü…";
        assert_eq!(visible(text), "a\tb\\u001b[31m\\u0007\\u000d\\u009b2J\\u007f\nü…");
        assert_eq!(one_line(text), "a\tb\\u001b[31m\\u0007\\u000d\\u009b2J\\u007f\\nü…");
        assert_eq!(indented("a\nb", 2), "a\n  b");
        assert!(matches!(visible("plain\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_stays_what_it_was() {
        let value = serde_json::json!({"a\u{9b}": "\u{1b}\u{7f}\u{85}\n"});
        let shown = visible(&format!("{value:#}")).into_owned();
        assert_eq!(serde_json::from_str::<picloud::json::Verbatim>(&shown).unwrap().0, value);
    }
}
