//! One way into every instruction set for computations that are not part of a network.

use super::Backend;
use crate::simd::{Portable, Simd};

/// A computation that is compiled once for each backend.
pub(crate) trait Task {
    /// What comes out.
    type Output;

    /// Computes it; `#[inline(always)]`, as is everything hot that it calls, so that all of it is compiled
    /// for the instructions of `S`.
    ///
    /// # Safety
    /// As [`Simd`].
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

impl Backend {
    /// Runs a task with this backend's instructions.
    ///
    /// # Panics
    /// If this processor does not have them.
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        assert!(self.kernels().is_some(), "this processor cannot run {}", self.name());
        match self {
            // SAFETY: plain arrays run everywhere.
            Backend::Portable => unsafe { task.run::<Portable<8>>() },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor was asked above.
            Backend::Avx2 => unsafe { avx2(task) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Backend::Avx512 => unsafe { avx512(task) },
            #[cfg(not(target_arch = "x86_64"))]
            Backend::Avx2 | Backend::Avx512 => unreachable!("it has no kernels here"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2<T: Task>(task: T) -> T::Output {
    // SAFETY: compiled for the instructions, and the caller has asked the processor.
    unsafe { task.run::<crate::simd::Avx2>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<T: Task>(task: T) -> T::Output {
    // SAFETY: as above.
    unsafe { task.run::<crate::simd::Avx512>() }
}
