//! The wasm exports, the one import and the panic hook.
//!
//! Invariant: every buffer that the host fills was allocated by `alloc` with exactly its
//! length, so that a reply can be owned and freed here. What `compile` and `run` answer is
//! never freed: an instance answers once and is thrown away.
#![expect(unsafe_code, reason = "the ABI is raw pointers by nature")]

use picloud_shared::{ABI_VERSION, Slice, calls, codec};

#[link(wasm_import_module = "picloud")]
unsafe extern "C" {
    #[link_name = "call"]
    fn picloud_call(op: u32, ptr: u32, len: u32) -> u64;
}

unsafe extern "C" {
    /// The linker's: its address is the end of the stack, and it has no value.
    static __stack_high: u8;
}

/// Hands `request` to the host and returns the bytes of its reply.
pub(crate) fn exchange(op: calls::Op, request: &[u8]) -> Vec<u8> {
    // SAFETY: the host reads `len` bytes at `ptr`, which are borrowed here, and replies
    // with no bytes or with all of a buffer that it obtained from `alloc` below and filled.
    unsafe {
        let packed = picloud_call(op as u32, request.as_ptr() as u32, request.len() as u32);
        let Slice { ptr, len } = Slice::unpack(packed);
        if len == 0 {
            return Vec::new();
        }
        Vec::from_raw_parts(ptr as *mut u8, len as usize, len as usize)
    }
}

/// The version of the contract that this module speaks.
#[unsafe(no_mangle)]
pub extern "C" fn abi_version() -> u32 {
    ABI_VERSION
}

/// Where the stack ends, which lies first in memory and grows downwards.
#[unsafe(no_mangle)]
pub extern "C" fn stack_end() -> u32 {
    (&raw const __stack_high).addr() as u32
}

/// A buffer of `len` bytes for the host to fill: the storage of a vector whose capacity is
/// exactly `len`.
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
/// The range must be one that `alloc` gave out and the host has filled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compile(ptr: *const u8, len: u32) -> u64 {
    // SAFETY: the caller's promise.
    let source = unsafe { std::slice::from_raw_parts(ptr, len as usize) };
    answer(&crate::script::compile(source))
}

/// Runs the compiled script on the request in `len` bytes at `ptr`.
///
/// # Safety
/// The range must be one that `alloc` gave out and the host has filled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn run(ptr: *const u8, len: u32) -> u64 {
    // SAFETY: the caller's promise.
    let request = unsafe { std::slice::from_raw_parts(ptr, len as usize) };
    answer(&crate::script::run(request))
}

/// The place in the compiled script of the instruction at `address`, packed.
#[unsafe(no_mangle)]
pub extern "C" fn place(address: u32) -> u64 {
    crate::script::place(address).pack()
}

/// Runs once when the module is packed, never afterwards: wasmtime-wizer calls
/// this export, keeps the memory it leaves behind and removes the export.
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
