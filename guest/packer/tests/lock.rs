//! Tests that the committed module matches its sources.

use std::fs;
use std::path::Path;

use picloud_packer::lock::Lock;
use picloud_packer::{MODULE_PATH, inspect, sources};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn the_committed_module_was_built_from_these_sources() {
    let committed = Lock::read(root()).unwrap();
    let module = fs::read(root().join(MODULE_PATH)).unwrap();
    let fresh = Lock::of(&module, sources::hash(root()).unwrap(), committed.rustc.clone());
    assert_eq!(fresh, committed, "run `make guest`");
}

#[test]
fn the_committed_module_keeps_all_its_state_in_memory() {
    inspect::inspect(&fs::read(root().join(MODULE_PATH)).unwrap()).unwrap();
}

#[test]
fn a_module_that_keeps_state_elsewhere_is_refused() {
    let empty_module = b"\0asm\x01\0\0\0";
    assert!(inspect::inspect(empty_module).is_err());
}
