//! `files::*`: blobs by path, in named buckets of the app.

use picloud_shared::calls::files::{Content, Delete, File, Get, List, Put, Stat};
use rhai::plugin::*;
use rhai::{Array, ImmutableString, Map};

use super::bytes_of;
use super::page::{LIMIT_DEFAULT, cursor, page};
use crate::host;

const TEXT: &str = "text/plain; charset=utf-8";
const BINARY: &str = "application/octet-stream";

/// A script's handle to a bucket.
#[derive(Clone)]
pub(crate) struct Bucket(ImmutableString);

impl Bucket {
    fn write(
        &self,
        context: &NativeCallContext<'_>,
        path: &str,
        content: &Dynamic,
        content_type: &str,
    ) -> Result<(), Box<EvalAltResult>> {
        let put = Put {
            bucket: self.0.to_string(),
            path: path.to_owned(),
            content: bytes_of(content)?,
            content_type: content_type.to_owned(),
        };
        host::call(context, &put)
    }

    fn read(
        &self,
        context: &NativeCallContext<'_>,
        path: &str,
    ) -> Result<Option<Vec<u8>>, Box<EvalAltResult>> {
        let get = Get { bucket: self.0.to_string(), path: path.to_owned() };
        Ok(host::call(context, &get)?.map(|Content(content)| content))
    }

    fn part(
        &self,
        context: &NativeCallContext<'_>,
        prefix: &str,
        limit: i64,
        after: Option<String>,
    ) -> Result<Map, Box<EvalAltResult>> {
        let bucket = self.0.to_string();
        let listed =
            host::call(context, &List { bucket, prefix: prefix.to_owned(), limit, after })?;
        let last = listed.files.last().map(|file| file.path.clone());
        let items: Array =
            listed.files.into_iter().map(|file| Dynamic::from_map(shown(file))).collect();
        Ok(page(items, last.filter(|_| listed.more)))
    }
}

/// Returns a file's metadata as a script sees it.
fn shown(file: File) -> Map {
    let mut shown = Map::new();
    shown.insert("path".into(), file.path.into());
    shown.insert("size".into(), file.size_bytes.into());
    shown.insert("content_type".into(), file.content_type.into());
    shown.insert("sha256".into(), file.sha256.into());
    shown.insert("version".into(), file.version.into());
    shown
}

#[export_module]
pub(crate) mod functions {
    use rhai::NativeCallContext;

    /// A handle to a bucket.
    pub type Bucket = super::Bucket;

    /// Returns the bucket with that name. Buckets do not have to be created first. An invalid name
    /// fails at the first operation on the bucket.
    pub fn bucket(name: ImmutableString) -> Bucket {
        super::Bucket(name)
    }

    /// Writes a text or blob to a file. Replaces an existing file.
    #[rhai_fn(global, return_raw)]
    pub fn put(
        context: NativeCallContext<'_>,
        bucket: Bucket,
        path: &str,
        content: Dynamic,
    ) -> Result<(), Box<EvalAltResult>> {
        let content_type = if content.is_string() { TEXT } else { BINARY };
        bucket.write(&context, path, &content, content_type)
    }

    /// Writes a text or blob to a file, with a content type such as `image/png`.
    #[rhai_fn(global, return_raw, name = "put")]
    pub fn put_as(
        context: NativeCallContext<'_>,
        bucket: Bucket,
        path: &str,
        content: Dynamic,
        content_type: &str,
    ) -> Result<(), Box<EvalAltResult>> {
        bucket.write(&context, path, &content, content_type)
    }

    /// Returns a file's content as a blob, or `()` if the file does not exist.
    #[rhai_fn(global, return_raw)]
    pub fn get(
        context: NativeCallContext<'_>,
        bucket: Bucket,
        path: &str,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        Ok(bucket.read(&context, path)?.map_or(Dynamic::UNIT, Dynamic::from_blob))
    }

    /// Returns a file's content as a text, or `()` if the file does not exist. Fails if the content
    /// is not UTF-8.
    #[rhai_fn(global, return_raw)]
    pub fn get_text(
        context: NativeCallContext<'_>,
        bucket: Bucket,
        path: &str,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        match bucket.read(&context, path)?.map(String::from_utf8) {
            None => Ok(Dynamic::UNIT),
            Some(Ok(text)) => Ok(text.into()),
            Some(Err(_)) => Err(format!("the file {path:?} is not UTF-8").into()),
        }
    }

    /// Returns a file's metadata, `#{ path, size, content_type, sha256, version }`, or `()` if the
    /// file does not exist. The version is 0 if this run has written the file.
    #[rhai_fn(global, return_raw)]
    pub fn stat(
        context: NativeCallContext<'_>,
        bucket: Bucket,
        path: &str,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let bucket = bucket.0.to_string();
        let file = host::call(&context, &Stat { bucket, path: path.to_owned() })?;
        Ok(file.map_or(Dynamic::UNIT, |file| Dynamic::from_map(shown(file))))
    }

    /// Deletes a file. Returns whether it existed.
    #[rhai_fn(global, return_raw)]
    pub fn delete(
        context: NativeCallContext<'_>,
        bucket: Bucket,
        path: &str,
    ) -> Result<bool, Box<EvalAltResult>> {
        let bucket = bucket.0.to_string();
        host::call(&context, &Delete { bucket, path: path.to_owned() })
    }

    /// Lists the first 100 files in the order of their paths, as `#{ items, cursor }`. Each item is
    /// like the result of `stat`.
    #[rhai_fn(global, return_raw)]
    pub fn list(context: NativeCallContext<'_>, bucket: Bucket) -> Result<Map, Box<EvalAltResult>> {
        bucket.part(&context, "", LIMIT_DEFAULT, None)
    }

    /// Lists the first 100 files whose paths start with the prefix.
    #[rhai_fn(global, return_raw, name = "list")]
    pub fn list_prefix(
        context: NativeCallContext<'_>,
        bucket: Bucket,
        prefix: &str,
    ) -> Result<Map, Box<EvalAltResult>> {
        bucket.part(&context, prefix, LIMIT_DEFAULT, None)
    }

    /// Lists up to `limit` files (1 to 1000) whose paths start with the prefix.
    #[rhai_fn(global, return_raw, name = "list")]
    pub fn list_limit(
        context: NativeCallContext<'_>,
        bucket: Bucket,
        prefix: &str,
        limit: i64,
    ) -> Result<Map, Box<EvalAltResult>> {
        bucket.part(&context, prefix, limit, None)
    }

    /// Lists the files after the cursor of the previous page; `()` starts at the beginning.
    #[rhai_fn(global, return_raw, name = "list")]
    pub fn list_after(
        context: NativeCallContext<'_>,
        bucket: Bucket,
        prefix: &str,
        limit: i64,
        after: Dynamic,
    ) -> Result<Map, Box<EvalAltResult>> {
        bucket.part(&context, prefix, limit, cursor(after)?)
    }
}
