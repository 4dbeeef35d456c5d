//! The allocator: free lists for small blocks, the standard library's allocator for large ones.
//!
//! Small blocks must be allocated in a few instructions. Their sizes are rounded up to classes of
//! 16 bytes. A freed block goes to the list of its class and is reused. Larger blocks come from
//! Rust's allocator for this target (dlmalloc), which joins adjacent free blocks. Memory use
//! therefore depends on the live blocks, not on all blocks ever allocated.
//!
//! Invariant: wasm memory only grows through `memory.grow`, which the host bounds.
#![expect(unsafe_code, reason = "an allocator is raw memory by nature")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use std::alloc::System;

const GRAIN: usize = 16;
const SMALL_MAX: usize = 512;
const CLASSES: usize = SMALL_MAX / GRAIN;
/// The size of the chunks that small blocks are cut from.
const CHUNK: usize = 16 << 10;

struct Heap {
    /// The rest of the current chunk.
    next: usize,
    end: usize,
    free: [*mut Block; CLASSES],
}

struct Block {
    next: *mut Block,
}

struct Allocator(UnsafeCell<Heap>);

// SAFETY: the module is built without threads.
unsafe impl Sync for Allocator {}

#[global_allocator]
static ALLOCATOR: Allocator =
    Allocator(UnsafeCell::new(Heap { next: 0, end: 0, free: [null_mut(); CLASSES] }));

/// Returns the class of a small block; `None` for a large one.
fn class_of(layout: Layout) -> Option<usize> {
    let size = layout.size().max(1);
    (size <= SMALL_MAX && layout.align() <= GRAIN).then(|| size.div_ceil(GRAIN) - 1)
}

impl Heap {
    unsafe fn allocate(&mut self, class: usize) -> *mut u8 {
        let head = self.free[class];
        if !head.is_null() {
            // SAFETY: the list holds freed blocks, which are unused.
            self.free[class] = unsafe { (*head).next };
            return head.cast();
        }
        let size = (class + 1) * GRAIN;
        if self.end - self.next < size && !self.refill() {
            return null_mut();
        }
        let start = self.next;
        self.next += size;
        start as *mut u8
    }

    /// Starts a new chunk. The rest of the old one, which is smaller than a small block, is lost.
    fn refill(&mut self) -> bool {
        // SAFETY: neither is zero, and the alignment is a power of two.
        let chunk = unsafe { System.alloc(Layout::from_size_align_unchecked(CHUNK, GRAIN)) };
        if chunk.is_null() {
            return false;
        }
        self.next = chunk as usize;
        self.end = self.next + CHUNK;
        true
    }
}

// SAFETY: blocks never overlap. Each comes from a chunk, a free list or the system's allocator, and
// its layout determines which.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class_of(layout) {
            // SAFETY: one thread, and no allocation happens inside.
            Some(class) => unsafe { (*self.0.get()).allocate(class) },
            // SAFETY: the caller guarantees it.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        match class_of(layout) {
            Some(class) => {
                // SAFETY: one thread, and no allocation happens inside.
                let heap = unsafe { &mut *self.0.get() };
                let block: *mut Block = ptr.cast();
                // SAFETY: the caller frees the block, and it holds at least 16 bytes.
                unsafe { (*block).next = heap.free[class] };
                heap.free[class] = block;
            }
            // SAFETY: the caller guarantees it.
            None => unsafe { System.dealloc(ptr, layout) },
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees that `size` fits the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (class_of(layout), class_of(wanted)) {
            (Some(old), Some(new)) if old == new => ptr,
            // SAFETY: the caller guarantees it for `ptr`.
            (None, None) => unsafe { System.realloc(ptr, layout, size) },
            // SAFETY: the caller guarantees it for `ptr`.
            _ => unsafe {
                let moved = self.alloc(wanted);
                if !moved.is_null() {
                    ptr.copy_to_nonoverlapping(moved, layout.size().min(size));
                    self.dealloc(ptr, layout);
                }
                moved
            },
        }
    }
}
