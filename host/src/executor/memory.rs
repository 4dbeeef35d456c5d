//! The guest's memory: its allocator, and ranges in it.

use picloud_shared::Slice;
use wasmtime::{AsContextMut, Func, Memory, Result};

/// The parts of the instance that host calls need.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) memory: Memory,
    pub(super) alloc: Alloc,
}

/// The guest's `alloc`. Its type is checked when it is called, which most runs of a small request
/// do not do.
#[derive(Clone, Copy)]
pub(super) struct Alloc(pub(super) Func);

impl Alloc {
    /// Allocates a buffer of `len` bytes in guest memory.
    pub(super) async fn call<T: Send + 'static>(
        self,
        mut store: impl AsContextMut<Data = T>,
        len: u32,
    ) -> Result<u32> {
        self.0.typed::<u32, u32>(&store)?.call_async(&mut store, len).await
    }
}

/// Returns the bytes of a range, if the whole range is in memory.
pub(super) fn bytes_of(memory: &[u8], range: Slice) -> Option<&[u8]> {
    let start = range.ptr as usize;
    memory.get(start..start.checked_add(range.len as usize)?)
}

/// Like [`bytes_of`], to be written.
pub(super) fn bytes_of_mut(memory: &mut [u8], range: Slice) -> Option<&mut [u8]> {
    let start = range.ptr as usize;
    memory.get_mut(start..start.checked_add(range.len as usize)?)
}
