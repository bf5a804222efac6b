//! Fixed tasks shared out among threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use crate::buffer::Buffer;

/// As many scratch buffers as threads may work at once.
///
/// What a task computes depends on its number alone, so results do not depend on who runs it, on how many
/// threads there are, or on the order.
pub(super) struct Workers {
    scratch: Vec<Buffer>,
}

impl Workers {
    /// Scratch of `len` values for each thread of the current pool.
    pub(super) fn new(len: usize) -> Workers {
        Workers { scratch: (0..Self::threads()).map(|_| Buffer::zeros(len.max(1))).collect() }
    }

    /// Most threads that can work at once.
    pub(super) fn count(&self) -> usize {
        self.scratch.len()
    }

    /// Values allocated.
    pub(super) fn len(&self) -> usize {
        self.scratch.iter().map(Buffer::len).sum()
    }

    fn threads() -> usize {
        rayon::current_num_threads().max(1)
    }

    /// Runs tasks `0 .. tasks`, each with a scratch buffer that no other task uses meanwhile.
    pub(super) fn run(&self, tasks: usize, task: impl Fn(usize, *mut f32) + Sync) {
        if tasks <= 1 || self.scratch.len() == 1 {
            (0..tasks).for_each(|t| task(t, self.scratch[0].ptr()));
            return;
        }
        let next = AtomicUsize::new(0);
        self.scratch.par_iter().with_max_len(1).for_each(|scratch| {
            loop {
                let t = next.fetch_add(1, Ordering::Relaxed);
                if t >= tasks {
                    break;
                }
                task(t, scratch.ptr());
            }
        });
    }
}
