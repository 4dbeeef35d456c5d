//! Copies the contents of files from one folder of blobs to another.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io::{Error, ErrorKind};

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Failed, Result, failed};
use crate::blobs::{Blobs, Described};
use crate::store::{Snapshot, StoredFile};

/// The number of entries read at once.
const PAGE_ROWS: i64 = 500;
/// The number of blobs copied at once: each waits for the disk, and one wait can serve several.
const COPIES: usize = 8;

/// A file whose content is lost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lost {
    /// The id of the app.
    pub app_id: String,
    /// The bucket.
    pub bucket: String,
    /// The path.
    pub path: String,
    /// The missing blob.
    pub blob: Uuid,
    /// The reason.
    pub reason: String,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { app_id, bucket, path, blob, reason } = self;
        write!(f, "{bucket}/{path} of app {app_id}, files/{app_id}/{blob}: {reason}")
    }
}

/// A copy from one folder to another, each blob once.
pub(super) struct Copying {
    /// `None` if no file was ever written.
    source: Option<Blobs>,
    target: Blobs,
    copied: HashSet<Uuid>,
    pub(super) bytes: i64,
}

impl Copying {
    pub(super) fn new(source: Option<Blobs>, target: Blobs) -> Self {
        Self { source, target, copied: HashSet::new(), bytes: 0 }
    }

    /// Returns the number of blobs copied.
    pub(super) fn count(&self) -> usize {
        self.copied.len()
    }

    /// Copies every blob that a database describes. Returns the missing and damaged ones.
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

/// Copies one blob. Returns the reason if it is lost. Errors end the backup: a full disk is not a
/// missing file.
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
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some("it is missing".into())),
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(Some(error.to_string())),
        Err(error) => Err(failed(format!("the file {}/{}", file.bucket, file.path))(error)),
    }
}
