//! The only import of the module.
//!
//! Invariant: the host replies with no bytes, or with the whole of a buffer that it obtained from
//! the export `alloc`, so that the reply can be owned and freed here.
#![cfg_attr(
    target_arch = "wasm32",
    expect(unsafe_code, reason = "the import takes and returns raw pointers")
)]

use picloud_shared::calls;

#[cfg(target_arch = "wasm32")]
#[link(wasm_import_module = "picloud")]
unsafe extern "C" {
    #[link_name = "call"]
    fn picloud_call(op: u32, ptr: u32, len: u32) -> u64;
}

/// Sends `request` to the host and returns the bytes of its reply.
#[cfg(target_arch = "wasm32")]
pub(crate) fn exchange(op: calls::Op, request: &[u8]) -> Vec<u8> {
    // SAFETY: the host reads `len` bytes at `ptr`, which are borrowed here, and replies
    // with no bytes or with all of a buffer that it obtained from `alloc` below and filled.
    unsafe {
        let packed = picloud_call(op as u32, request.as_ptr() as u32, request.len() as u32);
        let picloud_shared::Slice { ptr, len } = picloud_shared::Slice::unpack(packed);
        if len == 0 {
            return Vec::new();
        }
        Vec::from_raw_parts(ptr as *mut u8, len as usize, len as usize)
    }
}

/// Outside of wasm there is no host, so every call fails.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn exchange(_: calls::Op, _: &[u8]) -> Vec<u8> {
    picloud_shared::codec::encode(&calls::HostResult::<()>::Err(calls::HostError::Failed {
        message: "there is no host outside of the sandbox".to_owned(),
    }))
}
