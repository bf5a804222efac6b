//! Arrays of f32 that start on a cache line and are shared between threads tile by tile.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Bytes of a cache line and of the widest vector.
const ALIGNMENT: usize = 64;
/// Values beyond the end that a kernel may read: one widest vector.
pub(crate) const SLACK: usize = 16;

/// A zeroed array. Kernels write it through [`Buffer::ptr`] in disjoint parts; whoever hands out the parts
/// is answerable for that.
pub(crate) struct Buffer {
    start: NonNull<f32>,
    len: usize,
}

// SAFETY: a buffer owns its memory and holds plain numbers.
unsafe impl Send for Buffer {}
// SAFETY: shared access goes through `ptr`, whose users must keep their writes disjoint, or `as_slice`,
// which says the same.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `len` zeros; none are allocated for `len` 0.
    pub(crate) fn zeros(len: usize) -> Buffer {
        if len == 0 {
            return Buffer { start: NonNull::dangling(), len };
        }
        let layout = Self::layout(len);
        // SAFETY: the layout has a size above 0.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start.cast::<f32>()) else { handle_alloc_error(layout) };
        Buffer { start, len }
    }

    fn layout(len: usize) -> Layout {
        let bytes = (len + SLACK).checked_mul(size_of::<f32>()).expect("lengths are checked when planned");
        Layout::from_size_align(bytes, ALIGNMENT).expect("lengths are checked when planned")
    }

    /// The first value. Readable for `len` + [`SLACK`] values, writable likewise.
    pub(crate) fn ptr(&self) -> *mut f32 {
        self.start.as_ptr()
    }

    /// The first value, or null when the buffer is empty.
    pub(crate) fn ptr_or_null(&self) -> *mut f32 {
        if self.len == 0 { std::ptr::null_mut() } else { self.ptr() }
    }

    /// Length without the slack.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All values.
    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: `len` initialised values; no kernel is running while the executor lends slices.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// All values, to be changed.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: `len` initialised values, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated in `zeros` with the same layout.
            unsafe { dealloc(self.start.as_ptr().cast(), Self::layout(self.len)) }
        }
    }
}
