//! `kv::*`: values by key, in named collections of the app.
//!
//! Values are kept as JSON: what is read is what JSON can say of what was set, so
//! a blob comes back as an array of numbers.

use picloud_shared::calls::kv::{Delete, Entry, Get, Increment, List, Set};
use rhai::plugin::*;
use rhai::{Array, ImmutableString, Map};

use super::json;
use super::options::Options;
use super::page::{LIMIT_DEFAULT, cursor, page};
use crate::host;

/// A script's handle on a collection.
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

/// An entry as a script sees it.
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

    /// A handle on a collection.
    pub type Collection = super::Collection;

    /// The collection of that name. It needs no making; a name that is none is an
    /// error of the first thing that is done with it.
    pub fn collection(name: ImmutableString) -> Collection {
        super::Collection(name)
    }

    /// The value of a key, or `()` when there is none.
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

    /// The entry of a key, `#{ key, value, version }`, or `()` when there is none.
    /// The version of an entry that this run has changed is 0.
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

    /// Sets the value of a key with options: `ttl`, after how many milliseconds it
    /// is gone; `if_version`, set it only while the entry has this version, 0
    /// standing for no entry. Whether it was set.
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

    /// Deletes a key. Whether there was one.
    #[rhai_fn(global, return_raw)]
    pub fn delete(
        context: NativeCallContext<'_>,
        collection: Collection,
        key: &str,
    ) -> Result<bool, Box<EvalAltResult>> {
        let collection = collection.0.to_string();
        host::call(&context, &Delete { collection, key: key.to_owned() })
    }

    /// Whether there is an entry with this key.
    #[rhai_fn(global, return_raw)]
    pub fn has(
        context: NativeCallContext<'_>,
        collection: Collection,
        key: &str,
    ) -> Result<bool, Box<EvalAltResult>> {
        Ok(collection.find(&context, key)?.is_some())
    }

    /// The first 100 entries in the order of their keys, `#{ items, cursor }`.
    #[rhai_fn(global, return_raw)]
    pub fn list(
        context: NativeCallContext<'_>,
        collection: Collection,
    ) -> Result<Map, Box<EvalAltResult>> {
        collection.part(&context, "", LIMIT_DEFAULT, None)
    }

    /// The first 100 entries whose keys begin with the prefix.
    #[rhai_fn(global, return_raw, name = "list")]
    pub fn list_prefix(
        context: NativeCallContext<'_>,
        collection: Collection,
        prefix: &str,
    ) -> Result<Map, Box<EvalAltResult>> {
        collection.part(&context, prefix, LIMIT_DEFAULT, None)
    }

    /// The first entries whose keys begin with the prefix, 1 to 1000.
    #[rhai_fn(global, return_raw, name = "list")]
    pub fn list_limit(
        context: NativeCallContext<'_>,
        collection: Collection,
        prefix: &str,
        limit: i64,
    ) -> Result<Map, Box<EvalAltResult>> {
        collection.part(&context, prefix, limit, None)
    }

    /// The entries after the cursor of the part before; `()` begins at the start.
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

    /// Adds 1 to a number, an absent one being 0. The new number.
    #[rhai_fn(global, return_raw)]
    pub fn increment(
        context: NativeCallContext<'_>,
        collection: Collection,
        key: &str,
    ) -> Result<i64, Box<EvalAltResult>> {
        collection.add(&context, key, 1)
    }

    /// Adds to a number, an absent one being 0. The new number.
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
