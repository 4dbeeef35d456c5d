//! `regex::*`: linear-time regular expressions, executed in the guest so that fuel bounds both
//! compilation and search.
//!
//! Syntax: <https://docs.rs/regex/latest/regex/#syntax>.

use std::cell::RefCell;
use std::collections::HashMap;

use ::regex::{Regex, RegexBuilder};
use rhai::plugin::*;
use rhai::{Array, Map};

/// The maximum number of compiled patterns in the cache, which is then cleared.
const PATTERNS_MAX: usize = 64;

/// The maximum size of a compiled pattern, in bytes. Several must fit into the memory of a run
/// while one of them grows.
const PATTERN_BYTES_MAX: usize = 4 << 20;

thread_local! {
    static PATTERNS: RefCell<HashMap<String, Regex>> = RefCell::new(HashMap::new());
}

fn compiled(pattern: &str) -> Result<Regex, Box<EvalAltResult>> {
    PATTERNS.with_borrow_mut(|patterns| {
        if let Some(regex) = patterns.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = RegexBuilder::new(pattern)
            .size_limit(PATTERN_BYTES_MAX)
            .build()
            .map_err(|error| error.to_string())?;
        if patterns.len() == PATTERNS_MAX {
            patterns.clear();
        }
        patterns.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    })
}

#[export_module]
pub(crate) mod functions {
    /// Whether the pattern matches anywhere in the text.
    #[rhai_fn(return_raw)]
    pub fn is_match(pattern: &str, text: &str) -> Result<bool, Box<EvalAltResult>> {
        Ok(compiled(pattern)?.is_match(text))
    }

    /// Returns the first match, or `()`.
    #[rhai_fn(return_raw)]
    pub fn find(pattern: &str, text: &str) -> Result<Dynamic, Box<EvalAltResult>> {
        Ok(compiled(pattern)?.find(text).map_or(Dynamic::UNIT, |found| found.as_str().into()))
    }

    /// Returns all matches, in order, without overlaps.
    #[rhai_fn(return_raw)]
    pub fn find_all(pattern: &str, text: &str) -> Result<Array, Box<EvalAltResult>> {
        Ok(compiled(pattern)?.find_iter(text).map(|found| found.as_str().into()).collect())
    }

    /// Returns the groups of the first match as an object: named groups by name, and all groups by
    /// number as text. Returns `()` without a match.
    #[rhai_fn(return_raw)]
    pub fn captures(pattern: &str, text: &str) -> Result<Dynamic, Box<EvalAltResult>> {
        let regex = compiled(pattern)?;
        let Some(captures) = regex.captures(text) else {
            return Ok(Dynamic::UNIT);
        };
        let mut groups = Map::new();
        for (number, name) in regex.capture_names().enumerate() {
            let group: Dynamic =
                captures.get(number).map_or(Dynamic::UNIT, |group| group.as_str().into());
            if let Some(name) = name {
                groups.insert(name.into(), group.clone());
            }
            groups.insert(number.to_string().into(), group);
        }
        Ok(Dynamic::from_map(groups))
    }

    /// Returns the text with every match replaced; `$1` and `${name}` insert groups.
    #[rhai_fn(return_raw)]
    pub fn replace(
        pattern: &str,
        text: &str,
        replacement: &str,
    ) -> Result<String, Box<EvalAltResult>> {
        Ok(compiled(pattern)?.replace_all(text, replacement).into_owned())
    }

    /// Returns the pieces of the text between the matches.
    #[rhai_fn(return_raw)]
    pub fn split(pattern: &str, text: &str) -> Result<Array, Box<EvalAltResult>> {
        Ok(compiled(pattern)?.split(text).map(Into::into).collect())
    }
}
