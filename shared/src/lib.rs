//! The contract between PiCloud's host and its guest.
//!
//! Every value that crosses the wasm boundary has a type of this crate and is encoded by [`codec`].
//! The boundary itself is one import and seven exports:
//!
//! | name | signature | meaning |
//! | --- | --- | --- |
//! | import `picloud.call` | `(op: u32, ptr: u32, len: u32) -> u64` | one host call, see [`calls`] |
//! | export `memory` | | the guest's linear memory |
//! | export `abi_version` | `() -> u32` | [`ABI_VERSION`] |
//! | export `stack_end` | `() -> u32` | the memory below it is stack: it holds no data while no guest function runs |
//! | export `alloc` | `(len: u32) -> u32` | allocates a buffer of `len` bytes for the host to fill |
//! | export `compile` | `(ptr: u32, len: u32) -> u64` | parses a source, returns a [`execution::CompileReply`] |
//! | export `run` | `(ptr: u32, len: u32) -> u64` | runs the compiled script on a [`execution::RunRequest`], returns a [`execution::RunReply`] |
//! | export `place` | `(address: u32) -> u64` | the packed [`execution::Position`] of an instruction of the compiled script |
//!
//! A returned `u64` is a [`Slice`]: the place of the reply in guest memory.
//!
//! Invariant: this crate knows neither host nor guest, and does no I/O.

pub mod calls;
pub mod codec;
pub mod execution;
pub mod limit;

/// The version of the contract. The host refuses a guest that reports a different one.
pub const ABI_VERSION: u32 = 3;

/// The module name of the guest's only import.
pub const IMPORT_MODULE: &str = "picloud";

/// The field name of the guest's only import.
pub const IMPORT_NAME: &str = "call";

/// A byte range in guest memory, passed as one `u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Offset of the first byte in linear memory.
    pub ptr: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Slice {
    /// The empty range, which a host call with an empty reply returns.
    pub const EMPTY: Self = Self { ptr: 0, len: 0 };

    /// Packs the range as `ptr << 32 | len`.
    #[must_use]
    pub fn pack(self) -> u64 {
        (u64::from(self.ptr) << 32) | u64::from(self.len)
    }

    /// The inverse of [`Slice::pack`]. Every `u64` is a valid range.
    #[must_use]
    pub fn unpack(packed: u64) -> Self {
        let [p3, p2, p1, p0, l3, l2, l1, l0] = packed.to_be_bytes();
        Self {
            ptr: u32::from_be_bytes([p3, p2, p1, p0]),
            len: u32::from_be_bytes([l3, l2, l1, l0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_slice_survives_packing(ptr: u32, len: u32) {
            let slice = Slice { ptr, len };
            prop_assert_eq!(Slice::unpack(slice.pack()), slice);
        }
    }
}
