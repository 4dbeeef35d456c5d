//! Runs cargo for `wasm32-unknown-unknown`, so that the bytes depend only on the sources and the
//! compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, interpreter};

const TARGET: &str = "wasm32-unknown-unknown";

/// The stack in linear memory. It is below the data, so that an overflow traps instead of
/// overwriting the heap. It is a little larger than the 2 MiB that a page table covers: ordinary
/// scripts use the second table, and the kernel skips the first when it collects written pages
/// after a run.
const STACK_BYTES: usize = (2 << 20) + (64 << 10);

/// Builds the guest and returns the module as the linker wrote it.
///
/// Fails if the target's standard library is missing, with instructions to install it, or if the
/// build fails.
pub fn build(root: &Path) -> Result<Vec<u8>, Error> {
    let build_std = std::env::var_os("PICLOUD_GUEST_BUILD_STD").is_some();
    if !build_std && !has_target_std()? {
        return Err(format!(
            "the standard library for {TARGET} is missing. With rustup: `rustup target add {TARGET}`. \
             With Debian's packages: `apt-get install rustc-web rust-web-src lld`, then \
             `PICLOUD_GUEST_BUILD_STD=1 make guest`."
        )
        .into());
    }
    let workspace = interpreter::workspace(root)?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(&workspace)
        // Only a module: if cargo also built a Rust library, it would disable `lto`.
        .args(["rustc", "--package", "picloud-guest", "--lib"])
        .args(["--crate-type", "cdylib"])
        .args(["--profile", "guest", "--target", TARGET])
        .arg("--target-dir")
        .arg(root.canonicalize()?.join("target/guest"))
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&workspace)?.join("\u{1f}"))
        // `ahash` compiles random numbers into the build unless this variable is set.
        .env("CONST_RANDOM_SEED", "picloud")
        .env_remove("RUSTFLAGS");
    if build_std {
        cargo
            .arg("-Zbuild-std=std,panic_abort")
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "rust-lld");
    }
    if !cargo.status()?.success() {
        return Err("the guest failed to build".into());
    }
    interpreter::check_lock(root, &workspace)?;
    let module = root.join(format!("target/guest/{TARGET}/guest/picloud_guest.wasm"));
    Ok(fs::read(module)?)
}

/// Returns the first line of `rustc --version`. The bytes depend on it and the sources.
///
/// # Errors
/// Fails if rustc is missing.
pub fn rustc_version() -> Result<String, Error> {
    Ok(rustc(&["--version"])?.trim().to_owned())
}

fn has_target_std() -> Result<bool, Error> {
    let sysroot = PathBuf::from(rustc(&["--print", "sysroot"])?.trim());
    Ok(sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir())
}

fn rustc(arguments: &[&str]) -> Result<String, Error> {
    let output = Command::new("rustc").args(arguments).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Panic messages contain file names. The folders of this machine must not end up in the module.
fn rustflags(workspace: &Path) -> Result<Vec<String>, Error> {
    let workspace = workspace.canonicalize()?;
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").ok_or("HOME is not set")?).join(".cargo"),
    };
    let mut flags = vec![
        format!("--remap-path-prefix={}=/picloud", workspace.display()),
        "-Clink-arg=--stack-first".to_owned(),
        format!("-Clink-arg=-zstack-size={STACK_BYTES}"),
        // Every call of a metered function saves and loads its fuel, so inlining helps more here
        // than natively: a few per cent faster for a module a third larger.
        "-Cllvm-args=-inline-threshold=800".to_owned(),
    ];
    // `registry/src` has one folder per registry, whose name differs between mirrors of the same
    // packages.
    let registries = cargo_home.join("registry/src");
    if let Ok(folders) = fs::read_dir(&registries) {
        for folder in folders {
            flags.push(format!("--remap-path-prefix={}=/registry", folder?.path().display()));
        }
    }
    Ok(flags)
}
