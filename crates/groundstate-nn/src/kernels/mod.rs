//! The compute kernels, and the choice among the instruction sets they are compiled for.
//!
//! Each kernel is one generic function; [`Kernels`] is the table of its instances for one backend. All
//! `unsafe` arithmetic of the crate is below this module and in [`simd`](crate::simd); every backend is
//! tested against the [`plain`](crate::plain) executor.

pub(crate) mod cholesky;
pub(crate) mod direct;
pub(crate) mod epilogue;
pub(crate) mod gather;
mod micro;
pub(crate) mod product;
pub(crate) mod pyramid;
pub(crate) mod quantised;
mod task;
pub(crate) mod triangular;
pub(crate) mod vector;
pub(crate) mod weight_gradient;
pub(crate) mod winograd;

pub(crate) use task::Task;

use std::ops::Range;

use direct::Direct;
use epilogue::Epilogue;
use gather::Gather;
use weight_gradient::Correlation;
use winograd::{TileGradient, Tiles, WeightRows, Winograd};

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Whatever the build target guarantees; runs everywhere, NEON included where it is guaranteed.
    Portable,
    /// AVX2 and FMA, eight lanes.
    Avx2,
    /// AVX-512F, sixteen lanes.
    Avx512,
}

impl Backend {
    /// The backends this processor can run, slowest first.
    pub fn available() -> Vec<Backend> {
        [Backend::Portable, Backend::Avx2, Backend::Avx512]
            .into_iter()
            .filter(|b| b.kernels().is_some())
            .collect()
    }

    /// The fastest backend this processor can run.
    pub fn detect() -> Backend {
        let fast = [Backend::Avx512, Backend::Avx2].into_iter().find(|b| b.kernels().is_some());
        fast.unwrap_or(Backend::Portable)
    }

    /// The backend's name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Portable => "portable",
            Backend::Avx2 => "AVX2",
            Backend::Avx512 => "AVX-512",
        }
    }

    /// The backend's kernels, if this processor can run them.
    pub(crate) fn kernels(self) -> Option<&'static Kernels> {
        match self {
            Backend::Portable => Some(&portable::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => {
                let can = is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c");
                can.then_some(&avx2::KERNELS)
            }
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512 => is_x86_feature_detected!("avx512f").then_some(&avx512::KERNELS),
            #[cfg(not(target_arch = "x86_64"))]
            Backend::Avx2 | Backend::Avx512 => None,
        }
    }
}

/// One backend's instances. Calling them is safe only on a processor that has the backend, which having
/// the table proves, and under each kernel's own contract.
pub(crate) struct Kernels {
    /// Values per vector; channel counts are padded to a multiple.
    pub(crate) lanes: usize,
    /// Rows of one block of a weight gradient.
    pub(crate) correlation_rows: usize,
    /// [`direct::convolve`].
    pub(crate) convolve: unsafe fn(&Direct, *const f32, *const f32, Range<usize>, &Epilogue),
    /// [`gather::gather`].
    pub(crate) gather: unsafe fn(&Gather, *const f32, Range<usize>, &Epilogue),
    /// [`winograd::tiles`].
    pub(crate) winograd: unsafe fn(&Tiles<'_>, &Epilogue),
    /// [`winograd::transform_weights`].
    pub(crate) winograd_weights: unsafe fn(&Winograd, &WeightRows, &[usize], *mut f32),
    /// [`winograd::tile_gradient`].
    pub(crate) winograd_gradient: unsafe fn(&TileGradient<'_>),
    /// [`weight_gradient::correlate`].
    pub(crate) correlate: unsafe fn(&Correlation<'_>),
}

/// Instances for one backend: vector type, required features, and the rows of register blocks that are two
/// vectors wide, one vector wide, and of a weight gradient.
macro_rules! backend {
    ($name:ident, $simd:ty, [$($feature:meta)?], $two:literal, $one:literal, $correlation:literal) => {
        mod $name {
            use super::*;
            use crate::simd::Simd;

            pub(super) static KERNELS: Kernels = Kernels {
                lanes: <$simd>::LANES,
                correlation_rows: $correlation,
                convolve,
                gather,
                winograd,
                winograd_weights,
                winograd_gradient,
                correlate,
            };

            $(#[$feature])?
            unsafe fn convolve(g: &Direct, x: *const f32, w: *const f32, rows: Range<usize>, e: &Epilogue) {
                // SAFETY: the kernel's contract is the caller's.
                unsafe { direct::convolve::<$simd, $two, $one>(g, x, w, rows, e) }
            }
            $(#[$feature])?
            unsafe fn gather(g: &Gather, x: *const f32, rows: Range<usize>, e: &Epilogue) {
                // SAFETY: as above.
                unsafe { gather::gather::<$simd>(g, x, rows, e) }
            }
            $(#[$feature])?
            unsafe fn winograd(task: &Tiles<'_>, e: &Epilogue) {
                // SAFETY: as above.
                unsafe { winograd::tiles::<$simd, $two, $one>(task, e) }
            }
            $(#[$feature])?
            unsafe fn winograd_weights(g: &Winograd, w: &WeightRows, taps: &[usize], to: *mut f32) {
                // SAFETY: as above.
                unsafe { winograd::transform_weights::<$simd>(g, w, taps, to) }
            }
            $(#[$feature])?
            unsafe fn winograd_gradient(task: &TileGradient<'_>) {
                // SAFETY: as above.
                unsafe { winograd::tile_gradient::<$simd, $correlation>(task) }
            }
            $(#[$feature])?
            unsafe fn correlate(task: &Correlation<'_>) {
                // SAFETY: as above.
                unsafe { weight_gradient::correlate::<$simd, $correlation>(task) }
            }
        }
    };
}

backend!(portable, crate::simd::Portable<8>, [], 2, 4, 2);
#[cfg(target_arch = "x86_64")]
backend!(avx2, crate::simd::Avx2, [target_feature(enable = "avx2,fma,f16c")], 6, 8, 6);
#[cfg(target_arch = "x86_64")]
backend!(avx512, crate::simd::Avx512, [target_feature(enable = "avx512f")], 8, 8, 8);
