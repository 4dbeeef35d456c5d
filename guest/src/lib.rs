//! The Rhai interpreter as a wasm module, which runs inside every sandbox.
//!
//! ```text
//! abi       the exports; with `import` and `alloc` the only unsafe code
//! import    the only import
//! engine    builds the interpreter once, when the module is packed
//! script    compiles and runs a script
//! request   from the contract's request to the script's `ctx`
//! response  from the script's value to the contract's response
//! host      typed host calls
//! api/      the functions that scripts can use, one file per service
//! ```
//!
//! Invariant: the guest reads the clock, random numbers and all other outside state only through
//! host calls. A run is a function of its request and the host's replies.

#[cfg(target_arch = "wasm32")]
mod abi;
#[cfg(target_arch = "wasm32")]
mod alloc;
mod api;
pub mod engine;
mod fields;
mod host;
mod import;
mod place;
mod request;
mod response;
pub mod script;
