//! Searches executions for a text in their request, response, log and error.
//!
//! ```text
//!  candidates  from the database: the filter, and a plain fragment of the text
//!      │
//!  matches     in Rust: the whole text, in the row as users see it
//! ```
//!
//! The comparison is not made in SQL because the stored text is JSON. JSON escapes quotes,
//! backslashes and control characters, and the databases disagree on the case of letters beyond
//! ASCII.
//!
//! Invariant: a page reads at most [`TEXT_BYTES_MAX`] of rows. The result then contains the
//! position to continue from.

#[cfg(test)]
mod tests;

use sqlx::AnyConnection;

use super::blocks::walk::{Range, Walked, position};
use super::{Execution, ExecutionFilter, ExecutionScope, find_rows};
use crate::store::dialect::Dialect;
use crate::store::listing::{LOOKED_AT_MAX, Listed, Listing, Part, Position};
use crate::store::{Json, Page, Result};

/// The maximum number of candidates read at once.
const STEP: i64 = 250;
/// The maximum size of the text searched for one page; the row that exceeds it is the last.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// The columns that are searched.
const COLUMNS: [&str; 4] = ["request", "response", "log", "error"];
const TEXTS: &str = "request || COALESCE(response, '') || log || COALESCE(error, '')";

/// Returns a page of matching executions, including the filter's text.
pub(super) async fn fetch(
    connection: &mut AnyConnection,
    dialect: Dialect,
    scope: &ExecutionScope,
    filter: &ExecutionFilter,
    part: &Part,
) -> Result<Listed<Execution>> {
    let text = filter.text.as_deref().map(Text::new);
    let listing = filter.listing(scope);
    let fetch = async |connection: &mut AnyConnection, part: &Part| match &text {
        None => listing.clone().fetch(connection, "*", part).await,
        Some(text) => text.fetch(connection, listing.clone(), part).await,
    };
    let Page { limit, offset } = part.page;
    let range = Range {
        scope,
        from: filter.from.unwrap_or(i64::MIN),
        to: filter.to.unwrap_or(i64::MAX),
        after: part.after.as_ref(),
        count: usize::try_from(limit.saturating_add(offset)).unwrap_or(0),
    };
    let is_wanted =
        |row: &Execution| filter.fits(row) && text.as_ref().is_none_or(|text| text.is_in(row));
    let packed = match filter.fits_blocks() {
        true => range.newest(connection, |row| is_wanted(&row).then_some(row)).await?,
        false => Walked::default(),
    };
    if packed.rows.is_empty() && packed.looked_to.is_none() {
        return fetch(connection, part).await;
    }
    let from_start = Part { page: Page { limit: limit + offset, offset: 0 }, ..part.clone() };
    // Of many rows before the page only the positions are read.
    let (rows, looked_to) = if offset > 0 && text.is_none() {
        let keys = listing.clone().fetch(connection, "finished_at AS at, id", &from_start).await?;
        let rows: Vec<Position> = keys.rows;
        (rows.into_iter().map(|key| (key, None)).collect(), keys.looked_to)
    } else {
        let rows = fetch(connection, &from_start).await?;
        let with_positions = rows.rows.into_iter().map(|row| (position(&row), Some(row)));
        (with_positions.collect(), rows.looked_to)
    };
    let Listed { rows, looked_to } = merge(Walked { rows, looked_to }, packed, part.page);
    let rows = read(connection, dialect, rows).await?;
    Ok(Listed { rows, looked_to })
}

/// Merges the rows and the executions of blocks, each from the start of the list.
fn merge(
    rows: Walked<Option<Execution>>,
    packed: Walked<Execution>,
    page: Page,
) -> Listed<(Position, Option<Execution>)> {
    // Nothing is known of the executions after the first of the two ends.
    let ends = [rows.looked_to, packed.looked_to].into_iter().flatten();
    let end = ends.max_by(Position::cmp_newest_last);
    let packed = packed.rows.into_iter().map(|(position, row)| (position, Some(row)));
    let mut merged: Vec<_> = rows.rows.into_iter().chain(packed).collect();
    merged.sort_by(|(a, _), (b, _)| b.cmp_newest_last(a));
    if let Some(end) = &end {
        merged.retain(|(position, _)| position.cmp_newest_last(end).is_ge());
    }
    let natural = |number: i64| usize::try_from(number).unwrap_or(0);
    let of_page = merged.into_iter().skip(natural(page.offset)).take(natural(page.limit));
    let rows: Vec<_> = of_page.collect();
    let is_full = rows.len() == natural(page.limit);
    Listed { rows, looked_to: end.filter(|_| !is_full) }
}

/// Returns the executions in order. Reads those of which only the position is known.
async fn read(
    connection: &mut AnyConnection,
    dialect: Dialect,
    rows: Vec<(Position, Option<Execution>)>,
) -> Result<Vec<Execution>> {
    let unread = rows.iter().filter(|(_, row)| row.is_none());
    let ids: Vec<_> = unread.map(|(position, _)| (&*position.id,)).collect();
    let mut found = find_rows(connection, dialect, &ids).await?;
    let each = rows.into_iter();
    Ok(each.filter_map(|(key, row)| row.or_else(|| found.remove(&*key.id))).collect())
}

/// The text to search for.
struct Text {
    /// The text in lower case.
    folded: String,
    /// The text without spaces next to JSON's punctuation.
    tight: String,
}

impl Text {
    fn new(text: &str) -> Self {
        let folded = fold(text);
        Self { tight: tighten(&folded), folded }
    }

    async fn fetch(
        &self,
        connection: &mut AnyConnection,
        listing: Listing,
        part: &Part,
    ) -> Result<Listed<Execution>> {
        let Page { limit, offset } = part.page;
        let fragment = self.fragment();
        let mut window = if fragment.is_some() { LOOKED_AT_MAX } else { STEP };
        let listing = match fragment {
            None => listing,
            // A row with an escape can contain the fragment's letters in escaped form.
            Some(fragment) => {
                let like = format!("(LOWER({TEXTS}) LIKE {{}} OR {TEXTS} LIKE '%\\u%' ESCAPE '!')");
                let pattern = format!("%{fragment}%");
                listing.sifted_where(&COLUMNS, &like, Some((&*pattern).into()))
            }
        };
        let (mut rows, mut to_skip) = (Vec::new(), offset);
        let (mut left, mut bytes) = (LOOKED_AT_MAX, 0);
        let mut after = part.after.clone();
        while left > 0 {
            let step = Part { page: Page { limit: STEP, offset: 0 }, after };
            let listed: Listed<Execution> =
                listing.clone().looking_at(window).fetch(connection, "*", &step).await?;
            let count = i64::try_from(listed.rows.len()).unwrap_or(i64::MAX);
            let is_full = count >= STEP;
            after = listed.looked_to;
            for row in listed.rows {
                let position = Position { at: row.finished_at, id: row.id.as_str().to_owned() };
                bytes += texts(&row).map(|text| text.as_str().len()).sum::<usize>();
                if self.is_in(&row) {
                    to_skip -= 1;
                    if to_skip < 0 {
                        rows.push(row);
                    }
                }
                if i64::try_from(rows.len()).unwrap_or(i64::MAX) >= limit {
                    return Ok(Listed { rows, looked_to: None });
                }
                if bytes >= TEXT_BYTES_MAX {
                    return Ok(Listed { rows, looked_to: Some(position) });
                }
                if is_full {
                    after = Some(position);
                }
            }
            if after.is_none() {
                return Ok(Listed { rows, looked_to: None });
            }
            // A full step means that most rows are candidates.
            left -= if is_full { count } else { window };
            window = STEP;
        }
        Ok(Listed { rows, looked_to: after })
    }

    /// Returns the longest part of the text that every database lowercases in the same way. It
    /// consists of ASCII letters and digits, without those that are also the lower case of other
    /// characters (U+0130, U+212A).
    fn fragment(&self) -> Option<&str> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() && !matches!(c, 'i' | 'k');
        let parts = self.folded.split(|c| !is_plain(c));
        parts.filter(|part| !part.is_empty()).max_by_key(|part| part.len())
    }

    fn is_in(&self, row: &Execution) -> bool {
        texts(row).any(|text| self.is_in_json(text))
    }

    /// Whether a JSON text contains the text, as users see it or as it is stored.
    fn is_in_json(&self, json: &Json) -> bool {
        // Without a backslash, a match in the stored form is also a match in the visible form.
        (self.folded.contains('\\') && self.is_in_text(json.as_str()))
            || self.is_in_text(&seen(json.as_str()))
    }

    fn is_in_text(&self, text: &str) -> bool {
        let text = fold(text);
        text.contains(&self.folded) || tighten(&text).contains(&self.tight)
    }
}

fn texts(row: &Execution) -> impl Iterator<Item = &Json> {
    [Some(&row.request), row.response.as_ref(), Some(&row.log), row.error.as_ref()]
        .into_iter()
        .flatten()
}

/// Returns a JSON text with its strings unescaped. Strings that contain JSON, such as bodies, are
/// appended again in unescaped form.
fn seen(json: &str) -> String {
    let mut inner = Vec::new();
    let mut seen = unescaped(json, |text| {
        // Only an escape makes a difference.
        if text.contains('\\') && text.trim_start().starts_with(['{', '[', '"']) {
            inner.push(text.to_owned());
        }
    });
    for json in inner {
        seen.push('\n');
        seen.push_str(&unescaped(&json, |_| ()));
    }
    seen
}

/// Returns a JSON text with its strings unescaped, and calls `each` with each string.
fn unescaped(json: &str, mut each: impl FnMut(&str)) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(start) = rest.find('"') {
        let (before, from) = rest.split_at(start);
        let (string, after) = from.split_at(end_of_string(from));
        out.push_str(before);
        // Text that is not a string, such as a truncated one, stays unchanged.
        match serde_json::from_str::<String>(string) {
            Ok(text) => {
                out.push('"');
                out.push_str(&text);
                out.push('"');
                each(&text);
            }
            Err(_) => out.push_str(string),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Returns the index after the closing quote of the string at the beginning of `json`.
fn end_of_string(json: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    json.len()
}

/// Returns the text in lower case, character by character; both forms of the Greek sigma are equal.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let folded = text.chars().flat_map(char::to_lowercase);
    folded.map(|c| if c == 'ς' { 'σ' } else { c }).collect()
}

/// Returns the text without spaces next to JSON's punctuation, so that `"a": 1` is `"a":1`.
fn tighten(text: &str) -> String {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
    let is_punctuation = |c: char| matches!(c, ':' | ',' | '{' | '}' | '[' | ']');
    let mut tight = String::with_capacity(text.len());
    for c in text.chars() {
        if is_punctuation(c) {
            tight.truncate(tight.trim_end_matches(is_space).len());
        } else if is_space(c) && tight.ends_with(is_punctuation) {
            continue;
        }
        tight.push(c);
    }
    tight
}
