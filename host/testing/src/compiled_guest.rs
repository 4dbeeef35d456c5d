//! Compiles the interpreter once for all tests of all test binaries.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use picloud::clock::Clock;
use picloud::executor::{Executor, Settings};
use picloud::limits::Limits;
use picloud::private_hosts::PrivateHosts;

use crate::scratch_folder;

/// Links the compiled interpreter into a data folder. Compiling takes seconds: the first test does
/// it, and the others wait.
pub fn place(data: &Path) {
    static COMPILED: AtomicBool = AtomicBool::new(false);
    let shared = scratch_folder().join("guest");
    fs::create_dir_all(&shared).expect("a folder");
    let lock = File::create(shared.join("lock")).expect("a lock file");
    lock.lock().expect("a lock");
    if !COMPILED.load(Ordering::Acquire) {
        let settings = Settings {
            data: shared.clone(),
            slots: 1,
            queue_timeout: Duration::ZERO,
            queue_max: 0,
            memory_bytes_ceiling: Limits::CEILING.memory_bytes_max,
            image_cache_bytes_max: 1 << 20,
            private_hosts: PrivateHosts::default(),
        };
        Executor::start(&settings, Clock::system(), None).expect("a compiled guest");
        COMPILED.store(true, Ordering::Release);
    }
    fs::create_dir_all(data.join("cache")).expect("a cache folder");
    for file in fs::read_dir(shared.join("cache")).expect("a cache folder") {
        let file = file.expect("a file");
        fs::hard_link(file.path(), data.join("cache").join(file.file_name())).expect("a link");
    }
}
