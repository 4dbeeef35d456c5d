//! `files::*`: blobs by path, in named buckets of the app.
//!
//! As with `kv`, a run sees its own changes at once. Other runs see them after its commit.

use serde::{Deserialize, Serialize};

/// Writes a file. Replaces an existing one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// The bucket.
    pub bucket: String,
    /// The path in the bucket.
    pub path: String,
    /// The content, which can be empty.
    #[serde(with = "serde_bytes")]
    pub content: Vec<u8>,
    /// The content type, such as `image/png`.
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
pub struct Content(#[serde(with = "serde_bytes")] pub Vec<u8>);

/// Reads a file's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// The bucket.
    pub bucket: String,
    /// The path in the bucket.
    pub path: String,
}

/// A file's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path in the bucket.
    pub path: String,
    /// Its size in bytes.
    pub size_bytes: i64,
    /// Its content type.
    pub content_type: String,
    /// The SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// Its version, like that of `kv::Entry`.
    pub version: i64,
}

/// Deletes a file; the reply is whether it existed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// The bucket.
    pub bucket: String,
    /// The path in the bucket.
    pub path: String,
}

/// Lists files in the byte order of their paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// The bucket.
    pub bucket: String,
    /// The prefix of the paths to list.
    pub prefix: String,
    /// The maximum number of files, 1 to 1000.
    pub limit: i64,
    /// Lists only paths after this one.
    pub after: Option<String>,
}

/// A part of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The files.
    pub files: Vec<File>,
    /// Whether there are more files after the last one.
    pub more: bool,
}
