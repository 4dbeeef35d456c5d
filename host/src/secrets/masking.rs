//! Values taken out of what is logged and stored, wherever and however they stand there.
//!
//! Invariant: no masked text has a value in it, in none of its [`forms`]: what was put
//! together by masking is masked again.
//! Invariant: a masked text is never longer than it was.

mod forms;
mod json;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aho_corasick::{AhoCorasick, MatchKind};

use super::SecretValue;

/// What stands in the place of a value.
pub const MASK: &str = "***";
/// Shorter values are not masked: they would be found everywhere.
pub const MASKED_CHARS_MIN: usize = 4;

/// How much of a form is looked for first, in bytes: the search is built for every run
/// that reads a secret, and a value may be long.
const ANCHOR_BYTES_MAX: usize = 32;

/// The secrets that a run has read, and those that it called, which share it. Cheap to
/// clone.
#[derive(Clone, Default)]
pub struct Revealed(Arc<Mutex<Values>>);

#[derive(Default)]
struct Values {
    by_name: BTreeMap<String, SecretValue>,
    masker: Option<Masker>,
}

impl Revealed {
    /// The value that was read under this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<SecretValue> {
        self.values().by_name.get(name).cloned()
    }

    /// Remembers a value that is about to be given to a script.
    pub fn add(&self, name: String, value: SecretValue) {
        let mut values = self.values();
        values.by_name.insert(name, value);
        values.masker = None;
    }

    /// What masks all that was read until now.
    #[must_use]
    pub fn masker(&self) -> Masker {
        let mut values = self.values();
        let Values { by_name, masker } = &mut *values;
        masker.get_or_insert_with(|| Masker::new(by_name.values())).clone()
    }

    fn values(&self) -> MutexGuard<'_, Values> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Masks values. Cheap to clone; the default one masks nothing.
#[derive(Clone, Default)]
pub struct Masker(Option<Arc<Search>>);

struct Search {
    /// By the number of its pattern.
    forms: Vec<String>,
    anchors: AhoCorasick,
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masker(***)")
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.forms.zeroize();
    }
}

impl Masker {
    /// Masks these values, but for those that are too short.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a SecretValue>) -> Self {
        let forms: Vec<_> = values.into_iter().flat_map(|v| forms::of(v.reveal())).collect();
        if forms.is_empty() {
            // As for most runs, which need not pay for building a search for nothing.
            return Self(None);
        }
        let anchors = forms.iter().map(|form| anchor(form));
        let search = AhoCorasick::builder().match_kind(MatchKind::Standard).build(anchors);
        match search {
            Ok(anchors) => Self(Some(Arc::new(Search { forms, anchors }))),
            Err(error) => {
                // Only for patterns without end; what cannot be searched is not shown.
                tracing::error!(%error, "values cannot be masked");
                Self(None)
            }
        }
    }

    /// Whether there is nothing to mask.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Whether there is something to mask in a text.
    #[must_use]
    pub fn finds(&self, text: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|search| search.spans(text).next().is_some())
    }

    /// A text without the values.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // What was taken out were whole texts, so that a text remains.
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Bytes without the values.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut masked = Cow::Borrowed(bytes);
        let Some(search) = &self.0 else { return masked };
        // It becomes shorter each time.
        while let Some(shorter) = search.mask(&masked) {
            masked = Cow::Owned(shorter);
        }
        masked
    }

    /// A text that was cut at its end, without the values and without the beginning of
    /// one there.
    #[must_use]
    pub fn cut_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let masked = self.text(text);
        let Some(search) = &self.0 else { return masked };
        match search.begun(&masked) {
            0 => masked,
            begun => Cow::Owned(format!("{}{MASK}", &masked[..masked.len() - begun])),
        }
    }
}

impl Search {
    /// Where values are, and where they overlap, more than once.
    fn spans(&self, text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
        self.anchors.find_overlapping_iter(text).filter_map(|found| {
            let form = self.forms[found.pattern().as_usize()].as_bytes();
            let start = found.start();
            text[start..].starts_with(form).then_some((start, start + form.len()))
        })
    }

    /// The text masked once; nothing if there is nothing to mask.
    fn mask(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut spans: Vec<_> = self.spans(text).collect();
        if spans.is_empty() {
            return None;
        }
        spans.sort_unstable();
        let mut masked = Vec::with_capacity(text.len());
        let (mut done, mut start, mut end) = (0, spans[0].0, spans[0].1);
        for (next_start, next_end) in spans.into_iter().skip(1) {
            // Values that overlap leave nothing of either.
            if next_start <= end {
                end = end.max(next_end);
                continue;
            }
            masked.extend_from_slice(&text[done..start]);
            masked.extend_from_slice(MASK.as_bytes());
            (done, start, end) = (end, next_start, next_end);
        }
        masked.extend_from_slice(&text[done..start]);
        masked.extend_from_slice(MASK.as_bytes());
        masked.extend_from_slice(&text[end..]);
        Some(masked)
    }

    /// How many bytes at the end of a text are the beginning of a value; fewer than are
    /// masked are not counted.
    fn begun(&self, text: &str) -> usize {
        let begun = |form: &String| {
            let most = form.len().min(text.len());
            (MASKED_CHARS_MIN..=most)
                .rev()
                .find(|&len| form.is_char_boundary(len) && text.ends_with(&form[..len]))
        };
        self.forms.iter().filter_map(begun).max().unwrap_or(0)
    }
}

fn anchor(form: &str) -> &str {
    &form[..form.floor_char_boundary(ANCHOR_BYTES_MAX)]
}

#[cfg(test)]
mod tests;
