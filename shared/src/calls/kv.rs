//! `kv::*`: values by key, in named collections of the app.
//!
//! A run sees its own changes at once; others see them after its commit, or
//! never. Values travel as JSON text.

use serde::{Deserialize, Serialize};

/// Asks for one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: String,
}

/// An entry as it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its value, JSON text.
    pub value: String,
    /// Grows with every change of the collection; never used twice in one. An
    /// entry that this run has changed has version 0, because it gets its number
    /// at the commit.
    pub version: i64,
}

/// Sets a value; the answer is whether it was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: String,
    /// The value, JSON text.
    pub value: String,
    /// After so many milliseconds it is as if it had never been set.
    pub ttl_ms: Option<i64>,
    /// Set it only while the entry has this version; 0 stands for no entry.
    pub if_version: Option<i64>,
}

/// Deletes an entry; the answer is whether there was one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: String,
}

/// Lists entries in the order of their keys' bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// The collection.
    pub collection: String,
    /// Only keys that begin so.
    pub prefix: String,
    /// At most so many, 1 to 1000.
    pub limit: i64,
    /// Only keys after this one.
    pub after: Option<String>,
}

/// A part of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// Adds to a number, an absent one being 0; the answer is the new number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Increment {
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: String,
    /// What to add.
    pub by: i64,
}
