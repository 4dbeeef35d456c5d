//! A part of a list, and how the next one is asked for.

use rhai::plugin::*;
use rhai::{Array, ImmutableString, Map};

/// How many items a part has unless the script says otherwise.
pub(super) const LIMIT_DEFAULT: i64 = 100;

/// A part as a script sees it; `next` is the cursor of the one after it.
pub(super) fn page(items: Array, next: Option<String>) -> Map {
    let mut page = Map::new();
    page.insert("items".into(), items.into());
    page.insert("cursor".into(), next.map_or(Dynamic::UNIT, Into::into));
    page
}

/// The cursor that a script handed back: a text, or `()` to begin at the start, so
/// that a loop needs no case for its first round.
pub(super) fn cursor(given: Dynamic) -> Result<Option<String>, Box<EvalAltResult>> {
    if given.is_unit() {
        return Ok(None);
    }
    match given.try_cast_result::<ImmutableString>() {
        Ok(text) => Ok(Some(text.into_owned())),
        Err(given) => {
            Err(format!("a cursor must be a text or (), not {}", given.type_name()).into())
        }
    }
}
