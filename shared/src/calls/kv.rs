//! `kv::*`: values by key, in named collections of the app.
//!
//! A run sees its own changes at once. Other runs see them after its commit. Values are passed as
//! JSON text.

use serde::{Deserialize, Serialize};

/// Reads one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: String,
}

/// An entry as read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its value as JSON text.
    pub value: String,
    /// Its version, which grows with every change of the collection and is never used twice in it.
    /// An entry that this run has changed has version 0, because the commit assigns the version.
    pub version: i64,
}

/// Sets a value; the reply is whether it was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: String,
    /// The value as JSON text.
    pub value: String,
    /// The time to live in milliseconds; `None` if the entry never expires.
    pub ttl_ms: Option<i64>,
    /// Sets the value only if the entry has this version; 0 stands for an absent entry.
    pub if_version: Option<i64>,
}

/// Deletes an entry; the reply is whether it existed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: String,
}

/// Lists entries in the byte order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// The collection.
    pub collection: String,
    /// The prefix of the keys to list.
    pub prefix: String,
    /// The maximum number of entries, 1 to 1000.
    pub limit: i64,
    /// Lists only keys after this one.
    pub after: Option<String>,
}

/// A part of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Whether there are more entries after the last one.
    pub more: bool,
}

/// Adds to a number, which is 0 if absent; the reply is the new number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Increment {
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: String,
    /// The number to add.
    pub by: i64,
}
