//! Searches for all forms of all values in one pass over a text.
//!
//! Short forms are patterns of one automaton. For a long form, an automaton finds the first bytes,
//! and the rest is compared. The number of compared bytes is bounded: a text that looks like the
//! beginning of a value in too many places is masked as a whole.

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, BuildError, MatchKind};

use super::{MASK, MASKED_CHARS_MIN};

/// The number of bytes of a form that the automaton searches for.
const ANCHOR_BYTES_MAX: usize = 64;

/// The maximum number of compared bytes per byte of the text.
const COMPARED_PER_BYTE: usize = 64;

/// The forms of values, prepared for the search.
pub(super) struct Search {
    whole: Option<NFA>,
    anchors: Option<NFA>,
    /// The forms that are longer than their anchors, by the number of the anchor's pattern.
    long: Vec<String>,
    short: Vec<String>,
    /// Whether masking can create a form: only if a form contains the mask's character.
    can_be_made: bool,
}

/// The start and end of a value.
type Span = (usize, usize);

/// The text looks like the beginning of a value in too many places.
struct TooAlike;

impl Drop for Search {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.long.zeroize();
        self.short.zeroize();
    }
}

impl Search {
    pub(super) fn new(forms: Vec<String>) -> Result<Self, BuildError> {
        let can_be_made = forms.iter().any(|form| form.contains('*'));
        let (short, long): (Vec<_>, Vec<_>) =
            forms.into_iter().partition(|form| form.len() <= ANCHOR_BYTES_MAX);
        let automaton = |patterns: Vec<&str>| match patterns.is_empty() {
            true => Ok(None),
            false => NFA::builder().match_kind(MatchKind::Standard).build(patterns).map(Some),
        };
        Ok(Self {
            whole: automaton(short.iter().map(String::as_str).collect())?,
            anchors: automaton(long.iter().map(|form| anchor(form)).collect())?,
            long,
            short,
            can_be_made,
        })
    }

    pub(super) fn size_bytes(&self) -> usize {
        let automaton = |nfa: &Option<NFA>| nfa.as_ref().map_or(0, Automaton::memory_usage);
        let forms = self.long.iter().chain(&self.short).map(String::len).sum::<usize>();
        automaton(&self.whole) + automaton(&self.anchors) + forms
    }

    pub(super) fn finds(&self, text: &[u8]) -> bool {
        match self.spans(text) {
            Ok(spans) => !spans.is_empty(),
            Err(TooAlike) => true,
        }
    }

    /// Returns the text with values masked; `None` if there is nothing to mask.
    pub(super) fn mask(&self, text: &[u8]) -> Option<Vec<u8>> {
        let all = || Some(MASK.as_bytes().to_vec());
        let Ok(spans) = self.spans(text) else { return all() };
        if spans.is_empty() {
            return None;
        }
        let mut masked = Vec::with_capacity(text.len());
        let mut done = 0;
        for (start, end) in spans {
            masked.extend_from_slice(&text[done..start]);
            masked.extend_from_slice(MASK.as_bytes());
            done = end;
        }
        masked.extend_from_slice(&text[done..]);
        if !self.can_be_made {
            return Some(masked);
        }
        let masked = self.mask_made(masked);
        // Masking has created a long form: too rare to handle in detail.
        match self.long_spans(&masked) {
            Ok(spans) if spans.is_empty() => Some(masked),
            _ => all(),
        }
    }

    /// Returns the spans of values, in order; overlapping or adjacent spans are merged.
    fn spans(&self, text: &[u8]) -> Result<Vec<Span>, TooAlike> {
        let mut spans = self.short_spans(text);
        let long = self.long_spans(text)?;
        if !long.is_empty() {
            spans.extend(long);
            spans.sort_unstable();
            spans.dedup_by(|next, before| {
                let is_one = next.0 <= before.1;
                if is_one {
                    before.1 = before.1.max(next.1);
                }
                is_one
            });
        }
        Ok(spans)
    }

    fn short_spans(&self, text: &[u8]) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let Some((whole, mut state)) = started(self.whole.as_ref()) else { return spans };
        for (at, byte) in text.iter().enumerate() {
            state = whole.next_state(Anchored::No, state, *byte);
            if whole.is_match(state) {
                let end = at + 1;
                let mut start = end - longest(whole, state);
                while let Some(before) = spans.pop_if(|before| before.1 >= start) {
                    start = start.min(before.0);
                }
                spans.push((start, end));
            }
        }
        spans
    }

    fn long_spans(&self, text: &[u8]) -> Result<Vec<Span>, TooAlike> {
        let mut spans: Vec<Span> = Vec::new();
        let Some((anchors, mut state)) = started(self.anchors.as_ref()) else { return Ok(spans) };
        let mut compared_max = text.len().saturating_mul(COMPARED_PER_BYTE);
        for (at, byte) in text.iter().enumerate() {
            state = anchors.next_state(Anchored::No, state, *byte);
            if !anchors.is_match(state) {
                continue;
            }
            for index in 0..anchors.match_len(state) {
                let pattern = anchors.match_pattern(state, index);
                let form = self.long[pattern.as_usize()].as_bytes();
                let start = at + 1 - anchors.pattern_len(pattern);
                let rest = &text[start..];
                compared_max =
                    compared_max.checked_sub(form.len().min(rest.len())).ok_or(TooAlike)?;
                if rest.starts_with(form) {
                    spans.push((start, start + form.len()));
                }
            }
        }
        spans.sort_unstable();
        Ok(spans)
    }

    /// Masks the short forms that masking has created. The output goes through the automaton, and a
    /// form at its end is overwritten. Each replacement makes the rest shorter.
    fn mask_made(&self, text: Vec<u8>) -> Vec<u8> {
        let Some((whole, start)) = started(self.whole.as_ref()) else { return text };
        let mut written = Vec::with_capacity(text.len());
        let mut states: Vec<StateID> = Vec::with_capacity(text.len());
        // Bytes to process before the rest of the text, last byte first.
        let mut first: Vec<u8> = Vec::new();
        let mut text = text.into_iter();
        while let Some(byte) = first.pop().or_else(|| text.next()) {
            let before = states.last().copied().unwrap_or(start);
            let state = whole.next_state(Anchored::No, before, byte);
            written.push(byte);
            states.push(state);
            if whole.is_match(state) {
                let left = written.len() - longest(whole, state);
                written.truncate(left);
                states.truncate(left);
                first.extend(MASK.bytes().rev());
            }
        }
        written
    }

    /// Returns how many bytes at the end of a text begin a form. Fewer than the minimum for masking
    /// count as 0.
    pub(super) fn begun(&self, text: &str) -> usize {
        let begun = |form: &String| {
            let mut begun = prefix_at_end(form.as_bytes(), text.as_bytes());
            while !form.is_char_boundary(begun) {
                begun -= 1;
            }
            begun
        };
        let begun = self.short.iter().chain(&self.long).map(begun).max().unwrap_or(0);
        if begun < MASKED_CHARS_MIN { 0 } else { begun }
    }
}

fn anchor(form: &str) -> &str {
    &form[..form.floor_char_boundary(ANCHOR_BYTES_MAX)]
}

fn started(nfa: Option<&NFA>) -> Option<(&NFA, StateID)> {
    let nfa = nfa?;
    Some((nfa, nfa.start_state(Anchored::No).ok()?))
}

/// Returns the length of the longest pattern that ends in a state. A state's own pattern comes
/// before those of its failure states.
fn longest(nfa: &NFA, state: StateID) -> usize {
    nfa.pattern_len(nfa.match_pattern(state, 0))
}

/// Returns the length of the longest proper prefix of `form` that `text` ends with (Knuth, Morris
/// and Pratt).
fn prefix_at_end(form: &[u8], text: &[u8]) -> usize {
    let mut fail = vec![0; form.len()];
    let mut length = 0;
    for at in 1..form.len() {
        while length > 0 && form[at] != form[length] {
            length = fail[length - 1];
        }
        length += usize::from(form[at] == form[length]);
        fail[at] = length;
    }
    let mut length = 0;
    for byte in &text[text.len().saturating_sub(form.len())..] {
        if length == form.len() {
            length = fail[length - 1];
        }
        while length > 0 && form[length] != *byte {
            length = fail[length - 1];
        }
        length += usize::from(form[length] == *byte);
    }
    if length == form.len() { fail[length - 1] } else { length }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_of_a_text_is_the_beginning_of_a_form() {
        for (form, text, expected) in [
            ("abcabd", "xxabcab", 5),
            ("aaaa", "aaa", 3),
            ("aaaa", "aaaaaaa", 3),
            ("abab", "xabab", 2),
            ("abc", "xyz", 0),
            ("abc", "", 0),
        ] {
            assert_eq!(prefix_at_end(form.as_bytes(), text.as_bytes()), expected, "{form} {text}");
        }
    }

    proptest! {
        /// The automaton finds the same forms as a separate search for each form.
        #[test]
        fn the_longest_form_is_found_at_every_end(
            forms in prop::collection::vec("[ab*]{4,9}", 1..8), text in "[ab*]{0,40}",
        ) {
            let search = Search::new(forms.clone()).unwrap();
            let mut covered = vec![false; text.len() + 1];
            for form in &forms {
                for (start, _) in text.char_indices() {
                    if text[start..].starts_with(form) {
                        covered[start..start + form.len()].fill(true);
                    }
                }
            }
            let spans = search.short_spans(text.as_bytes());
            prop_assert!(spans.windows(2).all(|pair| pair[0].1 < pair[1].0));
            let mut found = vec![false; text.len() + 1];
            spans.iter().for_each(|(start, end)| found[*start..*end].fill(true));
            prop_assert_eq!(found, covered);
        }
    }
}
