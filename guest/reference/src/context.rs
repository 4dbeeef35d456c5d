//! The members of `ctx`, read from the tables in the scripting guide.

use serde::Serialize;

/// A member of `ctx`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The path, starting with `ctx`: `ctx.request.method`.
    pub path: String,
    /// The description.
    pub doc: String,
}

/// Returns the members of `ctx` from the rows that start with one.
pub(crate) fn members(guide: &str) -> Vec<Member> {
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `ctx."));
    rows.filter_map(|row| row.split_once("` | ")).flat_map(|(name, doc)| row(name, doc)).collect()
}

fn row(name: &str, doc: &str) -> Vec<Member> {
    let doc = doc.trim_end_matches('|').trim();
    let path = format!("ctx.{name}");
    // The row of an event's details lists their fields: `queue`, `payload`.
    let is_details = path.starts_with("ctx.event.") && doc.starts_with('`') && name != "event.kind";
    let within = doc.split('`').skip(1).step_by(2).filter(|_| is_details);
    let within = within.map(|name| Member { path: format!("{path}.{name}"), doc: String::new() });
    let within: Vec<_> = within.collect();
    [Member { path, doc: doc.to_owned() }].into_iter().chain(within).collect()
}

#[cfg(test)]
mod tests {
    use super::members;

    #[test]
    fn rows_become_members() {
        let guide = "text\n| `ctx.app` | the app |\n| `ctx.event.kind` | `kv`, … |\n\
                     | `ctx.event.queue` | `queue`, `payload` |\n| `other` | no |\n";
        let found = members(guide);
        let found: Vec<_> =
            found.iter().map(|member| (member.path.as_str(), member.doc.as_str())).collect();
        let expected = [
            ("ctx.app", "the app"),
            ("ctx.event.kind", "`kv`, …"),
            ("ctx.event.queue", "`queue`, `payload`"),
            ("ctx.event.queue.queue", ""),
            ("ctx.event.queue.payload", ""),
        ];
        assert_eq!(found, expected);
    }
}
