//! The contents of files, from one folder of blobs to another.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io::{Error, ErrorKind};

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Failed, Result, failed};
use crate::blobs::{Blobs, Described};
use crate::store::{Snapshot, StoredFile};

/// How many entries are read at once.
const PAGE_ROWS: i64 = 500;
/// How many blobs are copied at once: each waits for the disk, and one wait can do for
/// several of them.
const COPIES: usize = 8;

/// A file without its content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lost {
    /// The id of its app.
    pub app_id: String,
    /// Its bucket.
    pub bucket: String,
    /// Its path.
    pub path: String,
    /// The blob that was looked for.
    pub blob: Uuid,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { app_id, bucket, path, blob, reason } = self;
        write!(f, "{bucket}/{path} of app {app_id}, files/{app_id}/{blob}: {reason}")
    }
}

/// Copying from one folder to another, each blob once.
pub(super) struct Copying {
    /// None where no file was ever written.
    source: Option<Blobs>,
    target: Blobs,
    copied: HashSet<Uuid>,
    pub(super) bytes: i64,
}

impl Copying {
    pub(super) fn new(source: Option<Blobs>, target: Blobs) -> Self {
        Self { source, target, copied: HashSet::new(), bytes: 0 }
    }

    /// How many were copied.
    pub(super) fn count(&self) -> usize {
        self.copied.len()
    }

    /// Copies every blob that a database describes; those that are gone or damaged are
    /// told.
    pub(super) async fn copy_all(&mut self, moment: &mut Snapshot) -> Result<BTreeSet<Lost>> {
        let mut lost = BTreeSet::new();
        let mut last: Option<StoredFile> = None;
        loop {
            let page = moment.list_files(last.as_ref(), PAGE_ROWS).await;
            let page = page.map_err(failed("the list of files"))?;
            last = page.last().cloned();
            let Some(_) = last else { return Ok(lost) };
            self.copy_page(page, &mut lost).await?;
        }
    }

    async fn copy_page(&mut self, page: Vec<StoredFile>, lost: &mut BTreeSet<Lost>) -> Result<()> {
        let mut wanted = Vec::with_capacity(page.len());
        for file in page {
            let described: Described = file.value.to().map_err(failed(&file.path))?;
            if !self.copied.contains(&described.blob) {
                wanted.push((file, described));
            }
        }
        let copies = stream::iter(wanted).map(|(file, described)| {
            let (source, target) = (self.source.clone(), self.target.clone());
            async move {
                let outcome = copy(source.as_ref(), &target, &file, &described).await?;
                Ok::<_, Failed>((file, described, outcome))
            }
        });
        let copies: Vec<_> = copies.buffer_unordered(COPIES).try_collect().await?;
        for (file, described, outcome) in copies {
            match outcome {
                None => {
                    self.copied.insert(described.blob);
                    self.bytes += described.size_bytes;
                }
                Some(reason) => {
                    lost.insert(Lost {
                        app_id: file.app_id.as_str().to_owned(),
                        bucket: file.bucket,
                        path: file.path,
                        blob: described.blob,
                        reason,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Copies one blob: why it is lost, if it is. Errors end the whole: a disk that is full
/// is not a file that is missing.
async fn copy(
    source: Option<&Blobs>,
    target: &Blobs,
    file: &StoredFile,
    described: &Described,
) -> Result<Option<String>> {
    let copied = match source {
        Some(source) => source.copy(file.app_id.as_str(), described, target).await,
        None => Err(Error::from(ErrorKind::NotFound)),
    };
    match copied {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some("it is not there".into())),
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(Some(error.to_string())),
        Err(error) => Err(failed(format!("the file {}/{}", file.bucket, file.path))(error)),
    }
}
