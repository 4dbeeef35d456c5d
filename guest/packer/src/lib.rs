//! The packer: builds `guest/picloud_guest.wasm` from the guest's sources.
//!
//! ```text
//! sources     hashes the files and package versions that the module is built from
//! interpreter Rhai with our edits, and the workspace in which the guest is built
//! build       cargo for wasm32-unknown-unknown
//! initialise  runs the module's initialiser and keeps its memory (wasmtime-wizer)
//! inspect     proves the property that script images rely on
//! lock        reads, writes and compares `guest/picloud_guest.lock`
//! ```
//!
//! Invariant: the same sources, rustc and packages produce the same bytes.

pub mod build;
pub mod initialise;
pub mod inspect;
pub mod interpreter;
pub mod lock;
pub mod sources;

/// The error of a build.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The path of the module, relative to the workspace's root.
pub const MODULE_PATH: &str = "guest/picloud_guest.wasm";

/// The path of the edits of the interpreter, relative to the workspace's root.
pub const EDITS_PATH: &str = "guest/rhai";

/// The path of the lock file, relative to the workspace's root.
pub const LOCK_PATH: &str = "guest/picloud_guest.lock";
