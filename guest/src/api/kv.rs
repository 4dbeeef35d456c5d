//! `kv::*`: values by key, in named collections of the app.
//!
//! Values are stored as JSON. A value without an exact JSON form changes: a blob is read back as an
//! array of numbers.

use picloud_shared::calls::kv::{Delete, Entry, Get, Increment, List, Set};
use rhai::plugin::*;
use rhai::{Array, ImmutableString, Map};

use super::json;
use super::options::Options;
use super::page::{LIMIT_DEFAULT, cursor, page};
use crate::host;

/// A script's handle to a collection.
#[derive(Clone)]
pub(crate) struct Collection(ImmutableString);

impl Collection {
    fn find(
        &self,
        context: &NativeCallContext<'_>,
        key: &str,
    ) -> Result<Option<Entry>, Box<EvalAltResult>> {
        host::call(context, &Get { collection: self.0.to_string(), key: key.to_owned() })
    }

    fn put(
        &self,
        context: &NativeCallContext<'_>,
        key: &str,
        value: &Dynamic,
        options: Map,
    ) -> Result<bool, Box<EvalAltResult>> {
        let mut options = Options::of("Collection.set", options);
        let set = Set {
            collection: self.0.to_string(),
            key: key.to_owned(),
            value: json::to_text(value)?,
            ttl_ms: options.number("ttl", 1)?,
            if_version: options.number("if_version", 0)?,
        };
        options.end()?;
        host::call(context, &set)
    }

    fn part(
        &self,
        context: &NativeCallContext<'_>,
        prefix: &str,
        limit: i64,
        after: Option<String>,
    ) -> Result<Map, Box<EvalAltResult>> {
        let collection = self.0.to_string();
        let listed =
            host::call(context, &List { collection, prefix: prefix.to_owned(), limit, after })?;
        let last = listed.entries.last().map(|entry| entry.key.clone());
        let items = listed.entries.into_iter().map(|entry| Ok(Dynamic::from_map(shown(entry)?)));
        let items = items.collect::<Result<Array, Box<EvalAltResult>>>()?;
        Ok(page(items, last.filter(|_| listed.more)))
    }

    fn add(
        &self,
        context: &NativeCallContext<'_>,
        key: &str,
        by: i64,
    ) -> Result<i64, Box<EvalAltResult>> {
        host::call(context, &Increment { collection: self.0.to_string(), key: key.to_owned(), by })
    }
}

/// Returns an entry as a script sees it.
fn shown(entry: Entry) -> Result<Map, Box<EvalAltResult>> {
    let mut shown = Map::new();
    shown.insert("key".into(), entry.key.into());
    shown.insert("value".into(), json::from_bytes(entry.value.as_bytes())?);
    shown.insert("version".into(), entry.version.into());
    Ok(shown)
}

#[export_module]
pub(crate) mod functions {
    use rhai::NativeCallContext;

    /// A handle to a collection.
    pub type Collection = super::Collection;

    /// Returns the collection with that name. Collections do not have to be created first. An
    /// invalid name fails at the first operation on the collection.
    pub fn collection(name: ImmutableString) -> Collection {
        super::Collection(name)
    }

    /// Returns the value of a key, or `()` if the key does not exist.
    #[rhai_fn(global, return_raw)]
    pub fn get(
        context: NativeCallContext<'_>,
        collection: Collection,
        key: &str,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        match collection.find(&context, key)? {
            Some(entry) => json::from_bytes(entry.value.as_bytes()),
            None => Ok(Dynamic::UNIT),
        }
    }

    /// Returns the entry of a key, `#{ key, value, version }`, or `()` if the key does not exist.
    /// The version is 0 if this run has changed the entry.
    #[rhai_fn(global, return_raw)]
    pub fn entry(
        context: NativeCallContext<'_>,
        collection: Collection,
        key: &str,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        match collection.find(&context, key)? {
            Some(entry) => Ok(Dynamic::from_map(shown(entry)?)),
            None => Ok(Dynamic::UNIT),
        }
    }

    /// Sets the value of a key.
    #[rhai_fn(global, return_raw)]
    pub fn set(
        context: NativeCallContext<'_>,
        collection: Collection,
        key: &str,
        value: Dynamic,
    ) -> Result<bool, Box<EvalAltResult>> {
        collection.put(&context, key, &value, Map::new())
    }

    /// Sets the value of a key with options: `ttl`, the time to live in milliseconds; `if_version`,
    /// the version that the entry must have, 0 for an absent entry. Returns whether it was set.
    #[rhai_fn(global, return_raw, name = "set")]
    pub fn set_with(
        context: NativeCallContext<'_>,
        collection: Collection,
        key: &str,
        value: Dynamic,
        options: Map,
    ) -> Result<bool, Box<EvalAltResult>> {
        collection.put(&context, key, &value, options)
    }

    /// Deletes a key. Returns whether it existed.
    #[rhai_fn(global, return_raw)]
    pub fn delete(
        context: NativeCallContext<'_>,
        collection: Collection,
        key: &str,
    ) -> Result<bool, Box<EvalAltResult>> {
        let collection = collection.0.to_string();
        host::call(&context, &Delete { collection, key: key.to_owned() })
    }

    /// Whether a key exists.
    #[rhai_fn(global, return_raw)]
    pub fn has(
        context: NativeCallContext<'_>,
        collection: Collection,
        key: &str,
    ) -> Result<bool, Box<EvalAltResult>> {
        Ok(collection.find(&context, key)?.is_some())
    }

    /// Lists the first 100 entries in the order of their keys, as `#{ items, cursor }`.
    #[rhai_fn(global, return_raw)]
    pub fn list(
        context: NativeCallContext<'_>,
        collection: Collection,
    ) -> Result<Map, Box<EvalAltResult>> {
        collection.part(&context, "", LIMIT_DEFAULT, None)
    }

    /// Lists the first 100 entries whose keys start with the prefix.
    #[rhai_fn(global, return_raw, name = "list")]
    pub fn list_prefix(
        context: NativeCallContext<'_>,
        collection: Collection,
        prefix: &str,
    ) -> Result<Map, Box<EvalAltResult>> {
        collection.part(&context, prefix, LIMIT_DEFAULT, None)
    }

    /// Lists up to `limit` entries (1 to 1000) whose keys start with the prefix.
    #[rhai_fn(global, return_raw, name = "list")]
    pub fn list_limit(
        context: NativeCallContext<'_>,
        collection: Collection,
        prefix: &str,
        limit: i64,
    ) -> Result<Map, Box<EvalAltResult>> {
        collection.part(&context, prefix, limit, None)
    }

    /// Lists the entries after the cursor of the previous page; `()` starts at the beginning.
    #[rhai_fn(global, return_raw, name = "list")]
    pub fn list_after(
        context: NativeCallContext<'_>,
        collection: Collection,
        prefix: &str,
        limit: i64,
        after: Dynamic,
    ) -> Result<Map, Box<EvalAltResult>> {
        collection.part(&context, prefix, limit, cursor(after)?)
    }

    /// Adds 1 to a number, which is 0 if absent. Returns the new number.
    #[rhai_fn(global, return_raw)]
    pub fn increment(
        context: NativeCallContext<'_>,
        collection: Collection,
        key: &str,
    ) -> Result<i64, Box<EvalAltResult>> {
        collection.add(&context, key, 1)
    }

    /// Adds to a number, which is 0 if absent. Returns the new number.
    #[rhai_fn(global, return_raw, name = "increment")]
    pub fn increment_by(
        context: NativeCallContext<'_>,
        collection: Collection,
        key: &str,
        by: i64,
    ) -> Result<i64, Box<EvalAltResult>> {
        collection.add(&context, key, by)
    }
}
