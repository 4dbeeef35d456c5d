//! The packer: from the guest's sources to `guest/picloud_guest.wasm`.
//!
//! ```text
//! sources     which files and package versions the module is made of, as a hash
//! interpreter Rhai with our edits, and the workspace that the guest is built in
//! build       cargo for wasm32-unknown-unknown
//! initialise  runs the module's initialiser and keeps its memory (wasmtime-wizer)
//! inspect     proves what script images rely on
//! lock        what `guest/picloud_guest.lock` says of the module
//! ```
//!
//! Invariant: the same sources, the same rustc and the same packages give the same
//! bytes.

pub mod build;
pub mod initialise;
pub mod inspect;
pub mod interpreter;
pub mod lock;
pub mod sources;

/// Why the module could not be made.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The module, relative to the workspace's root.
pub const MODULE_PATH: &str = "guest/picloud_guest.wasm";

/// The edits of the interpreter, relative to the workspace's root.
pub const EDITS_PATH: &str = "guest/rhai";

/// What is known about the module, relative to the workspace's root.
pub const LOCK_PATH: &str = "guest/picloud_guest.lock";
