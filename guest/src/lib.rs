//! The Rhai interpreter as a wasm module: what runs inside every sandbox.
//!
//! ```text
//! abi       the exports and the one import; with `alloc` the only unsafe code
//! engine    builds the interpreter, once, before the module is packed
//! script    compile and run: source in, answer out
//! request   from the contract's request to the script's `ctx`
//! response  from the script's value to the contract's response
//! host      typed host calls
//! api/      what a script can use, one file per service
//! ```
//!
//! Invariant: nothing here reads a clock, a random source or any other state of
//! its surroundings but through a host call, so a run is a function of its
//! request and the host's answers.

#[cfg(target_arch = "wasm32")]
mod abi;
#[cfg(target_arch = "wasm32")]
mod alloc;
mod api;
pub mod engine;
mod fields;
mod host;
mod place;
mod request;
mod response;
pub mod script;
