//! The allocator: free lists for small blocks, the standard library's for large ones.
//!
//! What matters for small blocks is that an allocation is a few instructions. Their sizes
//! are rounded up to classes of 16 bytes; a freed block goes to the list of its class and is
//! handed out again. Larger blocks come from the allocator that Rust uses on this target
//! (dlmalloc), which joins neighbours that are free: memory is spent by what is held, not by
//! what has passed through.
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
/// What small blocks are cut from.
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

/// The class of a small block; `None` for a large one.
fn class_of(layout: Layout) -> Option<usize> {
    let size = layout.size().max(1);
    (size <= SMALL_MAX && layout.align() <= GRAIN).then(|| size.div_ceil(GRAIN) - 1)
}

impl Heap {
    unsafe fn allocate(&mut self, class: usize) -> *mut u8 {
        let head = self.free[class];
        if !head.is_null() {
            // SAFETY: the list holds blocks that were freed and nobody uses.
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

    /// Begins a new chunk, and leaves the rest of the old one, which is smaller than a
    /// small block.
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

// SAFETY: blocks never overlap: each comes from a chunk or from a free list, or from the
// system's allocator, and its layout tells which.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class_of(layout) {
            // SAFETY: one thread, and no allocation happens inside.
            Some(class) => unsafe { (*self.0.get()).allocate(class) },
            // SAFETY: the caller's promise.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        match class_of(layout) {
            Some(class) => {
                // SAFETY: one thread, and no allocation happens inside.
                let heap = unsafe { &mut *self.0.get() };
                let block: *mut Block = ptr.cast();
                // SAFETY: the caller gives the block back, and it holds 16 bytes.
                unsafe { (*block).next = heap.free[class] };
                heap.free[class] = block;
            }
            // SAFETY: the caller's promise.
            None => unsafe { System.dealloc(ptr, layout) },
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise: `size` fits the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (class_of(layout), class_of(wanted)) {
            (Some(old), Some(new)) if old == new => ptr,
            // SAFETY: the caller's promise for `ptr`.
            (None, None) => unsafe { System.realloc(ptr, layout, size) },
            // SAFETY: the caller's promise for `ptr`.
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
