//! `files::*`: blobs by path, in named buckets of the app.
//!
//! As with `kv`, a run sees its own changes at once and others see them after its
//! commit, or never.

use serde::{Deserialize, Serialize};

use crate::execution::bytes;

/// Writes a file, over one that may be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// The bucket.
    pub bucket: String,
    /// The path in the bucket.
    pub path: String,
    /// The content; it may be empty.
    #[serde(with = "bytes")]
    pub content: Vec<u8>,
    /// What kind of content it is, such as `image/png`.
    pub content_type: String,
}

/// Reads a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// The bucket.
    pub bucket: String,
    /// The path in the bucket.
    pub path: String,
}

/// A file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content(#[serde(with = "bytes")] pub Vec<u8>);

/// Asks about a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// The bucket.
    pub bucket: String,
    /// The path in the bucket.
    pub path: String,
}

/// What is known about a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path in the bucket.
    pub path: String,
    /// Its size.
    pub size_bytes: i64,
    /// What kind of content it is.
    pub content_type: String,
    /// The SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// As of `kv::Entry`.
    pub version: i64,
}

/// Deletes a file; the answer is whether there was one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// The bucket.
    pub bucket: String,
    /// The path in the bucket.
    pub path: String,
}

/// Lists files in the order of their paths' bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// The bucket.
    pub bucket: String,
    /// Only paths that begin so.
    pub prefix: String,
    /// At most so many, 1 to 1000.
    pub limit: i64,
    /// Only paths after this one.
    pub after: Option<String>,
}

/// A part of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The files.
    pub files: Vec<File>,
    /// Whether there are more after the last one.
    pub more: bool,
}
