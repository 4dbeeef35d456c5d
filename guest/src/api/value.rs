//! Values passed between scripts: JSON, and the blobs in it.

use picloud_shared::execution::{ScriptBlob, ScriptValue};
use rhai::{Array, Dynamic, EvalAltResult, Map};

use super::json;

/// Converts a value to the contract's type.
///
/// # Errors
/// Fails if it contains anything that neither JSON nor a blob can represent: a function pointer, a
/// handle, or a number that is not finite.
pub(crate) fn handed_over(mut value: Dynamic) -> Result<ScriptValue, Box<EvalAltResult>> {
    let mut blobs = Vec::new();
    each_leaf(&mut value, &mut |leaf, null| {
        if leaf.is_blob() {
            let bytes = std::mem::take(leaf).into_blob().unwrap_or_default();
            blobs.push(ScriptBlob { null, bytes });
        }
    });
    Ok(ScriptValue { json: json::to_text(&value)?, blobs })
}

/// Returns the value that another script passed.
///
/// # Errors
/// Fails if it nests deeper than 127.
pub(crate) fn received(value: ScriptValue) -> Result<Dynamic, Box<EvalAltResult>> {
    let mut dynamic = json::from_bytes(value.json.as_bytes())?;
    let mut blobs = value.blobs.into_iter().peekable();
    if blobs.peek().is_some() {
        each_leaf(&mut dynamic, &mut |leaf, null| {
            if let Some(blob) = blobs.next_if(|blob| blob.null == null) {
                *leaf = Dynamic::from_blob(blob.bytes);
            }
        });
    }
    Ok(dynamic)
}

/// Visits every empty value and every blob in the order in which JSON writes them. Passes the
/// number of those before it.
fn each_leaf(value: &mut Dynamic, visit: &mut impl FnMut(&mut Dynamic, u32)) {
    let mut count = 0;
    visit_leaves(value, &mut |leaf| {
        visit(leaf, count);
        count += 1;
    });
}

fn visit_leaves(value: &mut Dynamic, visit: &mut impl FnMut(&mut Dynamic)) {
    // Changing a captured variable's value affects nothing else, because the run has ended.
    if let Some(mut array) = value.write_lock::<Array>() {
        array.iter_mut().for_each(|item| visit_leaves(item, visit));
    } else if let Some(mut map) = value.write_lock::<Map>() {
        map.values_mut().for_each(|item| visit_leaves(item, visit));
    } else if value.is_unit() || value.is_blob() {
        visit(value);
    }
}
