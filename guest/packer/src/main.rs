//! `picloud-packer`: writes the guest module. With `--check`, compares a fresh build with the
//! committed module and writes nothing.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use picloud_packer::lock::Lock;
use picloud_packer::{Error, LOCK_PATH, MODULE_PATH, build, initialise, inspect, sources};

fn main() -> ExitCode {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => {
            eprintln!(
                "unknown argument {other}: `picloud-packer` writes, `picloud-packer --check` compares"
            );
            return ExitCode::from(2);
        }
    };
    match pack(check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("picloud-packer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn pack(check: bool) -> Result<(), Error> {
    let root = Path::new(".");
    let built = build::build(root)?;
    let module = initialise::initialise(&built)?;
    inspect::inspect(&module)?;
    let fresh = Lock::of(&module, sources::hash(root)?, build::rustc_version()?);
    if !check {
        fs::write(root.join(MODULE_PATH), &module)?;
        fs::write(root.join(LOCK_PATH), fresh.to_text()?)?;
        println!("{MODULE_PATH}: {} bytes, sha256 {}", module.len(), fresh.module_sha256);
        return Ok(());
    }
    let committed = Lock::read(root)?;
    if fresh.rustc != committed.rustc {
        // Other compilers produce other bytes, so only the sources are compared. The host's tests
        // show whether the result works.
        println!(
            "the committed guest was built by {}, this is {}: bytes not compared",
            committed.rustc, fresh.rustc
        );
        return fresh.same_sources(&committed);
    }
    fresh.same_sources(&committed)?;
    fresh.same_module(&committed)?;
    println!("{MODULE_PATH} matches its sources: sha256 {}", fresh.module_sha256);
    Ok(())
}
