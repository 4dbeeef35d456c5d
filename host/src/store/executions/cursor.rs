//! A position in the log of executions: how far a client that follows the log has read.
//!
//! Executions become visible in the order of their commits, which is neither that of their ids nor
//! that of their finish times. Each writer numbers its own executions, and a cursor holds one
//! number per writer: decision 29.
//!
//! As text a cursor is `v1.` and the base64url of `WRITER:SEQUENCE,…;FINISHED_AT:ID`. The part
//! after the semicolon is the last execution without a number.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::ExecutionId;
use crate::store::writer::WRITERS_MAX;

/// The maximum length of a cursor's text: 64 writers, each with the largest number.
const TEXT_BYTES_MAX: usize = 4096;

const PREFIX: &str = "v1.";

/// A position in the log. The default is its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionCursor {
    /// The last sequence number read of each writer. A missing writer is read from its first
    /// execution.
    pub(super) sequences: BTreeMap<i64, i64>,
    /// The last execution without a number: its finish time and its id.
    pub(super) unnumbered: Option<(i64, ExecutionId)>,
}

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a cursor of the log")]
pub struct CursorError;

impl ExecutionCursor {
    /// Returns the last sequence number read of a writer.
    pub(super) fn sequence(&self, writer: i64) -> i64 {
        self.sequences.get(&writer).copied().unwrap_or(0)
    }

    /// Whether the cursor has a number that its writer has not assigned yet. This happens after the
    /// database was restored from a backup.
    pub(super) fn is_ahead_of(&self, writers: &BTreeMap<i64, i64>) -> bool {
        let reached = |writer| writers.get(writer).copied().unwrap_or(0);
        self.sequences.iter().any(|(writer, sequence)| *sequence > reached(writer))
    }
}

impl fmt::Display for ExecutionCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.sequences.iter().map(|(w, s)| format!("{w}:{s}")).collect();
        let last = self.unnumbered.as_ref().map(|(at, id)| format!("{at}:{id}"));
        let text = format!("{};{}", numbers.join(","), last.unwrap_or_default());
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(text))
    }
}

impl FromStr for ExecutionCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        read(text).ok_or(CursorError)
    }
}

fn read(text: &str) -> Option<ExecutionCursor> {
    let encoded = text.strip_prefix(PREFIX).filter(|text| text.len() <= TEXT_BYTES_MAX)?;
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
    let (numbers, last) = text.split_once(';')?;
    let mut cursor = ExecutionCursor::default();
    for number in numbers.split(',').filter(|number| !number.is_empty()) {
        let (writer, sequence) = number.split_once(':')?;
        let (writer, sequence) = (writer.parse().ok()?, sequence.parse().ok()?);
        if !(1..=WRITERS_MAX).contains(&writer) || sequence < 0 {
            return None;
        }
        cursor.sequences.insert(writer, sequence);
    }
    if let Some((at, id)) = last.split_once(':') {
        cursor.unnumbered = Some((at.parse().ok()?, id.parse().ok()?));
    }
    Some(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(sequences: &[(i64, i64)], unnumbered: Option<(i64, &str)>) -> ExecutionCursor {
        ExecutionCursor {
            sequences: sequences.iter().copied().collect(),
            unnumbered: unnumbered.map(|(at, id)| (at, id.parse().unwrap())),
        }
    }

    #[test]
    fn a_cursor_comes_back_from_its_text_which_fits_into_a_url() {
        let id = "0197f3a4-5c1e-7b7a-8f6e-3d2c1b0a9f8e";
        let full: Vec<_> = (1..=WRITERS_MAX).map(|writer| (writer, i64::MAX)).collect();
        for cursor in [
            ExecutionCursor::default(),
            cursor(&[(1, 7), (2, 0)], None),
            cursor(&[], Some((7, id))),
            cursor(&full, Some((i64::MAX, id))),
        ] {
            let text = cursor.to_string();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            assert!(text.chars().all(plain) && text.len() < 2048, "{text}");
            assert_eq!(text.parse(), Ok(cursor));
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let of = |text: &str| format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(text));
        let long = "1:1,".repeat(2000);
        for text in [
            String::new(),
            "v2.Ow".to_owned(),
            "v1.%".to_owned(),
            of(""),
            of("0:1;"),
            of("65:1;"),
            of("1:-1;"),
            of("1;"),
            of(";7:none"),
            of(&long),
        ] {
            assert_eq!(text.parse::<ExecutionCursor>(), Err(CursorError), "{text}");
        }
    }

    #[test]
    fn a_cursor_ahead_of_its_database_is_noticed() {
        let writers = BTreeMap::from([(1, 10), (2, 5)]);
        for (sequences, is_ahead) in [
            (&[(1, 10), (2, 5)][..], false),
            (&[], false),
            (&[(1, 11)], true),
            (&[(3, 1)], true),
            (&[(3, 0)], false),
        ] {
            assert_eq!(cursor(sequences, None).is_ahead_of(&writers), is_ahead, "{sequences:?}");
        }
    }
}
