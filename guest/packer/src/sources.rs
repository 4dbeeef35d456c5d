//! The inputs of the module: the sources of guest, contract and packer, the edits of the
//! interpreter, the build settings, and the versions of all packages that the guest uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{EDITS_PATH, Error};

const PLACES: [&str; 7] = [
    "guest/Cargo.toml",
    EDITS_PATH,
    "guest/src",
    "guest/packer/Cargo.toml",
    "guest/packer/src",
    "shared/Cargo.toml",
    "shared/src",
];

/// Returns a hash of all inputs, in hexadecimal.
///
/// # Errors
/// Fails if a file cannot be read.
pub fn hash(root: &Path) -> Result<String, Error> {
    let mut files = Vec::new();
    for place in PLACES {
        collect(&root.join(place), &mut files)?;
    }
    files.sort_unstable();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(root)?.to_string_lossy().into_owned();
        let content = fs::read(&file)?;
        // The lengths keep the end of one part from being read as the start of the next.
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    for package in guest_packages(root)? {
        hash.update((package.len() as u64).to_le_bytes());
        hash.update(package);
    }
    Ok(hex::encode(hash.finalize()))
}

fn collect(place: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    if place.is_dir() {
        for entry in fs::read_dir(place)? {
            collect(&entry?.path(), files)?;
        }
    } else {
        files.push(place.to_owned());
    }
    Ok(())
}

#[derive(Deserialize)]
struct CargoLock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// Returns `name version checksum` of every package in a lock file.
///
/// # Errors
/// Fails if the file cannot be read.
pub fn packages(lock: &Path) -> Result<BTreeSet<String>, Error> {
    let lock: CargoLock = toml::from_str(&fs::read_to_string(lock)?)?;
    Ok(lock.package.iter().map(Package::identity).collect())
}

impl Package {
    fn identity(&self) -> String {
        let checksum = self.checksum.as_deref().unwrap_or("local");
        format!("{} {} {checksum}", self.name, self.version)
    }
}

/// Returns the packages that the guest is built with, as in [`packages`], from Cargo.lock.
fn guest_packages(root: &Path) -> Result<BTreeSet<String>, Error> {
    let lock: CargoLock = toml::from_str(&fs::read_to_string(root.join("Cargo.lock"))?)?;
    let mut by_name: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in &lock.package {
        by_name.entry(&package.name).or_default().push(package);
    }
    let mut found = BTreeSet::new();
    let mut open = vec!["picloud-guest".to_owned()];
    while let Some(wanted) = open.pop() {
        // An entry is `name`, or `name version` if several versions are locked.
        let mut words = wanted.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next());
        for package in by_name.get(name).into_iter().flatten() {
            if version.is_some_and(|version| version != package.version) {
                continue;
            }
            if found.insert(package.identity()) {
                open.extend(package.dependencies.iter().cloned());
            }
        }
    }
    Ok(found)
}
