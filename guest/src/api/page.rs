//! One page of a list, and the cursor of the next one.

use rhai::plugin::*;
use rhai::{Array, ImmutableString, Map};

/// The default number of items of a page.
pub(super) const LIMIT_DEFAULT: i64 = 100;

/// Returns a page as a script sees it. `next` is the cursor of the next page.
pub(super) fn page(items: Array, next: Option<String>) -> Map {
    let mut page = Map::new();
    page.insert("items".into(), items.into());
    page.insert("cursor".into(), next.map_or(Dynamic::UNIT, Into::into));
    page
}

/// Returns the cursor that a script passed: a text, or `()` for the first page, so that a loop
/// needs no special case for it.
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
