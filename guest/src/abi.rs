//! The wasm exports and the panic hook.
//!
//! Invariant: every buffer that the host fills comes from `alloc` and has exactly its length, so
//! that the guest can own and free it. The replies of `compile` and `run` are never freed: an
//! instance replies once and is discarded.
#![expect(unsafe_code, reason = "the ABI is raw pointers by nature")]

use picloud_shared::{ABI_VERSION, Slice, calls, codec};

use crate::import::exchange;

unsafe extern "C" {
    /// Defined by the linker: its address is the end of the stack, and it has no value.
    static __stack_high: u8;
}

/// Returns the version of the contract that this module implements.
#[unsafe(no_mangle)]
pub extern "C" fn abi_version() -> u32 {
    ABI_VERSION
}

/// Returns the end of the stack, which is first in memory and grows downwards.
#[unsafe(no_mangle)]
pub extern "C" fn stack_end() -> u32 {
    (&raw const __stack_high).addr() as u32
}

/// Allocates a buffer of `len` bytes for the host to fill: the storage of a vector with exactly
/// this capacity.
#[unsafe(no_mangle)]
pub extern "C" fn alloc(len: u32) -> *mut u8 {
    let mut buffer = Vec::new();
    buffer.reserve_exact(len as usize);
    assert!(buffer.capacity() == len as usize, "a buffer has exactly the length asked for");
    Vec::leak(buffer).as_mut_ptr()
}

/// Parses the source in `len` bytes at `ptr`.
///
/// # Safety
/// The range must come from `alloc`, and the host must have filled it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compile(ptr: *const u8, len: u32) -> u64 {
    // SAFETY: the caller guarantees it.
    let source = unsafe { std::slice::from_raw_parts(ptr, len as usize) };
    answer(&crate::script::compile(source))
}

/// Runs the compiled script on the request in `len` bytes at `ptr`.
///
/// # Safety
/// The range must come from `alloc`, and the host must have filled it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn run(ptr: *const u8, len: u32) -> u64 {
    // SAFETY: the caller guarantees it.
    let request = unsafe { std::slice::from_raw_parts(ptr, len as usize) };
    answer(&crate::script::run(request))
}

/// Returns the packed position of the instruction at `address` in the compiled script.
#[unsafe(no_mangle)]
pub extern "C" fn place(address: u32) -> u64 {
    crate::script::place(address).pack()
}

/// Runs once when the module is packed: wasmtime-wizer calls this export, keeps the memory that it
/// leaves behind and removes the export.
#[unsafe(export_name = "wizer-initialize")]
pub extern "C" fn initialize() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.to_string();
        exchange(calls::Op::GuestPanicked, &codec::encode(&calls::guest::Panicked { message }));
    }));
    crate::engine::install();
}

fn answer<T: serde::Serialize>(reply: &T) -> u64 {
    let bytes: &'static [u8] = codec::encode(reply).leak();
    Slice { ptr: bytes.as_ptr() as u32, len: bytes.len() as u32 }.pack()
}
