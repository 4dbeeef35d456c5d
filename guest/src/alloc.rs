//! The allocator: bump allocation with a free list per size class.
//!
//! An instance lives for one execution, so memory never has to go back to the
//! system; what matters is that an allocation is a few instructions. Sizes are
//! rounded up to classes of 16 bytes up to 512, then to powers of two. A freed
//! block goes to the list of its class and is handed out again.
//!
//! Invariant: wasm memory only grows through `grow`, which the host bounds.
#![expect(unsafe_code, reason = "an allocator is raw memory by nature")]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32;
use core::cell::UnsafeCell;
use core::ptr::null_mut;

const GRAIN: usize = 16;
const SMALL_MAX: usize = 512;
const SMALL_CLASSES: usize = SMALL_MAX / GRAIN;
/// Large classes between one power of two and the next.
const STEPS: usize = 4;
const CLASSES: usize = SMALL_CLASSES + STEPS * 32;
const PAGE: usize = 65_536;

struct Heap {
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

/// The class of a size and the size of its blocks; `None` past the address space.
fn class_of(size: usize) -> Option<(usize, usize)> {
    if size <= SMALL_MAX {
        let class = size.max(1).div_ceil(GRAIN);
        Some((class - 1, class * GRAIN))
    } else {
        let power = (size - 1).ilog2() as usize;
        let step = 1_usize << (power - STEPS.ilog2() as usize);
        let block = size.checked_next_multiple_of(step)?;
        let quarter = (block - (1 << power)) / step;
        Some((SMALL_CLASSES + STEPS * (power - SMALL_MAX.ilog2() as usize) + quarter, block))
    }
}

impl Heap {
    unsafe fn allocate(&mut self, size: usize, align: usize) -> *mut u8 {
        let Some((class, block)) = class_of(size.max(align)) else {
            return null_mut();
        };
        let head = self.free[class];
        if !head.is_null() {
            // SAFETY: the list holds blocks that were freed and nobody uses.
            self.free[class] = unsafe { (*head).next };
            return head.cast();
        }
        let start = self.next.next_multiple_of(align.max(GRAIN));
        let Some(end) = start.checked_add(block) else {
            return null_mut();
        };
        if end > self.end && !self.grow(end) {
            return null_mut();
        }
        self.next = end;
        start as *mut u8
    }

    /// Makes memory reach to `end`. The first call starts where the module's own
    /// data and stack end.
    fn grow(&mut self, end: usize) -> bool {
        let pages = (end - self.end).div_ceil(PAGE);
        let before = wasm32::memory_grow(0, pages);
        if before == usize::MAX {
            return false;
        }
        self.end = (before + pages) * PAGE;
        true
    }
}

// SAFETY: blocks never overlap: each comes from fresh memory or from a free list,
// and is at least as large and as aligned as its layout asks.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one thread, and no allocation happens inside.
        let heap = unsafe { &mut *self.0.get() };
        if heap.end == 0 {
            heap.end = wasm32::memory_size(0) * PAGE;
            heap.next = heap.end;
        }
        // SAFETY: as above.
        unsafe { heap.allocate(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: one thread, and no allocation happens inside.
        let heap = unsafe { &mut *self.0.get() };
        if let Some((class, _)) = class_of(layout.size().max(layout.align())) {
            let block: *mut Block = ptr.cast();
            // SAFETY: the caller gives the block back, and it holds 16 bytes.
            unsafe { (*block).next = heap.free[class] };
            heap.free[class] = block;
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let old = class_of(layout.size().max(layout.align()));
        let new = class_of(size.max(layout.align()));
        if old.is_some() && old == new {
            return ptr;
        }
        // SAFETY: one thread, and no allocation happens inside.
        let heap = unsafe { &mut *self.0.get() };
        if let (Some((_, old)), Some((_, new))) = (old, new)
            && ptr as usize + old == heap.next
            && new > old
            && let Some(end) = (ptr as usize).checked_add(new)
            && (end <= heap.end || heap.grow(end))
        {
            heap.next = end;
            return ptr;
        }
        // SAFETY: the caller's promise for `ptr`, and `size` fits its alignment.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                ptr.copy_to_nonoverlapping(moved, layout.size().min(size));
                self.dealloc(ptr, layout);
            }
            moved
        }
    }
}
