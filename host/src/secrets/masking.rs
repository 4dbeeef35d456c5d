//! Masks secret values in logged and stored text, in every form. `executor.rs` applies it to the
//! outcome of a run, `orchestrator/rows.rs` to stored requests and responses.
//!
//! Invariant: a masked text contains no value in any of its [`forms`]; a value that masking puts
//! together is masked again.
//! Invariant: a masked text is never longer than the original, unless all of it is masked.
//! Invariant: the time is linear in the length of the text, for all texts and values.

mod forms;
mod json;
mod search;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moka::sync::Cache;
use sha2::{Digest, Sha256};

use self::search::Search;
use super::SecretValue;

/// The replacement of a value.
pub const MASK: &str = "***";
/// Shorter values are not masked: they would match everywhere.
pub const MASKED_CHARS_MIN: usize = 4;

/// The maximum memory of the cached maskers, in bytes.
const MASKERS_BYTES_MAX: u64 = 32 << 20;

/// A cache of maskers by their set of values. Most runs of a script read the same secrets, and
/// building a search for many takes longer than the run. Cheap to clone.
#[derive(Clone)]
pub struct Maskers(Arc<Cache<[u8; 32], Masker>>);

impl Default for Maskers {
    fn default() -> Self {
        let weigh = |_: &[u8; 32], masker: &Masker| {
            u32::try_from(masker.size_bytes() + 64).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder().max_capacity(MASKERS_BYTES_MAX).weigher(weigh).build();
        Self(Arc::new(cache))
    }
}

impl Maskers {
    /// Returns the masker of these values.
    fn of(&self, by_name: &BTreeMap<String, SecretValue>) -> Masker {
        if by_name.is_empty() {
            return Masker::default();
        }
        let mut set = Sha256::new();
        for value in by_name.values() {
            set.update(value.reveal().len().to_le_bytes());
            set.update(value.reveal());
        }
        self.0.get_with(set.finalize().into(), || Masker::new(by_name.values()))
    }
}

/// The secrets that a run and the runs it called have read. Cheap to clone.
#[derive(Clone, Default)]
pub struct Revealed {
    values: Arc<Mutex<Values>>,
    maskers: Maskers,
}

#[derive(Default)]
struct Values {
    by_name: BTreeMap<String, SecretValue>,
    masker: Option<Masker>,
}

impl Revealed {
    /// Returns an empty set, which takes its maskers from `maskers`.
    #[must_use]
    pub fn new(maskers: Maskers) -> Self {
        Self { values: Arc::default(), maskers }
    }

    /// Returns the value that was read under this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<SecretValue> {
        self.values().by_name.get(name).cloned()
    }

    /// Records a value that is about to be given to a script.
    pub fn add(&self, name: String, value: SecretValue) {
        let mut values = self.values();
        values.by_name.insert(name, value);
        values.masker = None;
    }

    /// Returns the masker of all values read so far.
    #[must_use]
    pub fn masker(&self) -> Masker {
        let mut values = self.values();
        let Values { by_name, masker } = &mut *values;
        masker.get_or_insert_with(|| self.maskers.of(by_name)).clone()
    }

    fn values(&self) -> MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Masks values in text. Cheap to clone; the default masks nothing.
#[derive(Clone, Default)]
pub struct Masker(Masks);

#[derive(Clone, Default)]
enum Masks {
    #[default]
    Nothing,
    Found(Arc<Search>),
    /// Some values cannot be searched for: no text is shown.
    Everything,
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masker(***)")
    }
}

impl Masker {
    /// Creates a masker of these values, except those that are too short.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a SecretValue>) -> Self {
        let forms: Vec<_> = values.into_iter().flat_map(|v| forms::of(v.reveal())).collect();
        if forms.is_empty() {
            // Most runs have no values, and should not pay for building a search.
            return Self(Masks::Nothing);
        }
        match Search::new(forms) {
            Ok(search) => Self(Masks::Found(Arc::new(search))),
            Err(error) => {
                tracing::error!(%error, "values cannot be masked; nothing is shown");
                Self(Masks::Everything)
            }
        }
    }

    /// Whether there is nothing to mask.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self.0, Masks::Nothing)
    }

    /// Whether a text contains a value.
    #[must_use]
    pub fn finds(&self, text: &[u8]) -> bool {
        match &self.0 {
            Masks::Nothing => false,
            Masks::Found(search) => search.finds(text),
            Masks::Everything => text != MASK.as_bytes(),
        }
    }

    /// Returns the text with values masked.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // Only whole values were replaced, so the result is still text.
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Returns the bytes with values masked.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let masked = match &self.0 {
            Masks::Nothing => None,
            Masks::Found(search) => search.mask(bytes),
            Masks::Everything => Some(MASK.as_bytes().to_vec()),
        };
        masked.map_or(Cow::Borrowed(bytes), Cow::Owned)
    }

    /// Masks a text that was cut at its end, including the beginning of a value there.
    #[must_use]
    pub fn cut_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let masked = self.text(text);
        let Masks::Found(search) = &self.0 else { return masked };
        match search.begun(&masked) {
            0 => masked,
            begun => Cow::Owned(format!("{}{MASK}", &masked[..masked.len() - begun])),
        }
    }

    #[cfg(test)]
    fn is_same_as(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Masks::Found(one), Masks::Found(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Returns the approximate memory use, in bytes.
    fn size_bytes(&self) -> usize {
        match &self.0 {
            Masks::Found(search) => search.size_bytes(),
            Masks::Nothing | Masks::Everything => 0,
        }
    }
}

#[cfg(test)]
mod tests;
