//! The interpreter's sources with our edits, and the workspace in which the guest is built.
//!
//! ```text
//! registry's rhai ──copy──► target/guest/workspace/rhai ◄── guest/rhai/*.toml
//! guest/, shared/ ──copy──► target/guest/workspace/{guest,shared}
//! Cargo.toml, Cargo.lock ─► target/guest/workspace/Cargo.{toml,lock}
//! ```
//!
//! Rhai's bytecode VM differs from its tree walker in a few places. Each file in `guest/rhai` fixes
//! one of them: it says why, and which text replaces which. The repository contains only the edits.
//! All other packages use Rhai as published.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::{EDITS_PATH, Error};

const WORKSPACE_PATH: &str = "target/guest/workspace";

/// The paths that are copied from the repository into the workspace.
const OWN: [&str; 4] = ["guest/Cargo.toml", "guest/src", "shared/Cargo.toml", "shared/src"];

/// One file of `guest/rhai`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edits {
    /// The error in the published sources.
    #[serde(rename = "why")]
    _why: String,
    edit: Vec<Edit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    /// The path within Rhai's package.
    file: PathBuf,
    /// The text to replace, which occurs exactly once.
    find: String,
    replace: String,
}

/// Writes the workspace and returns its folder.
///
/// # Errors
/// Fails if Rhai's sources cannot be found, or if an edit does not match them.
pub fn workspace(root: &Path) -> Result<PathBuf, Error> {
    let workspace = root.join(WORKSPACE_PATH);
    let mut files = BTreeMap::new();
    read_into(&mut files, &published(root)?, Path::new("rhai"))?;
    edit(&mut files, root)?;
    for place in OWN {
        read_into(&mut files, &root.join(place), Path::new(place))?;
    }
    files.insert("Cargo.toml".into(), manifest(root)?.into_bytes());
    files.insert("Cargo.lock".into(), fs::read(root.join("Cargo.lock"))?);
    write(&workspace, &files)?;
    Ok(workspace)
}

/// Checks that the build used every package except Rhai exactly as Cargo.lock names it.
///
/// # Errors
/// Fails if a package is missing there or has another version or checksum.
pub fn check_lock(root: &Path, workspace: &Path) -> Result<(), Error> {
    let ours = crate::sources::packages(&root.join("Cargo.lock"))?;
    let built: BTreeSet<String> = crate::sources::packages(&workspace.join("Cargo.lock"))?
        .into_iter()
        .filter(|package| !package.starts_with("rhai "))
        .collect();
    match built.difference(&ours).next() {
        None => Ok(()),
        Some(other) => {
            Err(format!("the guest was built with {other}, which is not in Cargo.lock").into())
        }
    }
}

/// Returns the folder of Rhai's package, as cargo unpacked it.
fn published(root: &Path) -> Result<PathBuf, Error> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        manifest_path: PathBuf,
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let rhai = metadata.packages.iter().find(|package| package.name == "rhai");
    let folder = rhai.and_then(|package| package.manifest_path.parent());
    Ok(folder.ok_or("the workspace does not use rhai")?.to_owned())
}

fn edit(files: &mut BTreeMap<PathBuf, Vec<u8>>, root: &Path) -> Result<(), Error> {
    let mut edits = BTreeMap::new();
    read_into(&mut edits, &root.join(EDITS_PATH), Path::new(""))?;
    for (name, text) in edits {
        let edits: Edits = toml::from_str(std::str::from_utf8(&text)?)?;
        for Edit { file, find, replace } in edits.edit {
            let place = format!("{}, {}", name.display(), file.display());
            let source = files.get_mut(&Path::new("rhai").join(&file));
            let source = source.ok_or_else(|| format!("{place}: there is no such file"))?;
            // Some of the published files have Windows line endings.
            let text = std::str::from_utf8(source)?.replace("\r\n", "\n");
            match text.matches(&find).count() {
                1 => *source = text.replacen(&find, &replace, 1).into_bytes(),
                found => return Err(format!("{place}: found {found} times: {find}").into()),
            }
        }
    }
    Ok(())
}

/// Returns the repository's manifest, reduced to guest and contract and with the edited Rhai.
fn manifest(root: &Path) -> Result<String, Error> {
    let mut manifest: toml::Table = toml::from_str(&fs::read_to_string(root.join("Cargo.toml"))?)?;
    let workspace = manifest
        .get_mut("workspace")
        .and_then(toml::Value::as_table_mut)
        .ok_or("Cargo.toml has no workspace")?;
    workspace.remove("default-members");
    workspace.insert("members".into(), vec!["guest", "shared"].into());
    workspace.insert("exclude".into(), vec!["rhai"].into());
    if let Some(dependencies) =
        workspace.get_mut("dependencies").and_then(toml::Value::as_table_mut)
    {
        dependencies.remove("picloud");
    }
    let patch: toml::Table = toml::from_str("crates-io.rhai.path = \"rhai\"")?;
    manifest.insert("patch".into(), patch.into());
    Ok(toml::to_string(&manifest)?)
}

fn read_into(files: &mut BTreeMap<PathBuf, Vec<u8>>, from: &Path, to: &Path) -> Result<(), Error> {
    if from.is_dir() {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            read_into(files, &entry.path(), &to.join(entry.file_name()))?;
        }
    } else {
        files.insert(to.to_owned(), fs::read(from)?);
    }
    Ok(())
}

/// Makes the folder contain exactly these files. Does not touch unchanged files, because cargo
/// rebuilds everything that was written.
fn write(folder: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) -> Result<(), Error> {
    let mut there = BTreeMap::new();
    if folder.is_dir() {
        read_into(&mut there, folder, Path::new(""))?;
    }
    for name in there.keys().filter(|name| !files.contains_key(*name)) {
        fs::remove_file(folder.join(name))?;
    }
    for (name, content) in files {
        if there.get(name) != Some(content) {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(path, content)?;
        }
    }
    Ok(())
}
