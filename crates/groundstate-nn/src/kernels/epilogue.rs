//! What happens to a convolution's sums before they are stored.
//!
//! Value, slope, curvature and gradient buffers of a convolution share one layout, so one offset addresses
//! all of them. Pointers are to the start of one image in each buffer; null means "absent".

use super::micro::prefetch;
use crate::layer::Activation;
use crate::simd::{Simd, activate};

/// Values that a row of a block is copied as, where it has no more.
const EIGHT: usize = 8;

/// The operation, with the buffers it touches.
#[derive(Clone, Copy)]
pub(crate) enum Epilogue {
    /// a = f(z + bias), and f′ and f″ for later passes.
    Activate {
        activation: Activation,
        /// One value per channel.
        bias: *const f32,
        value: *mut f32,
        slope: *mut f32,
        curvature: *mut f32,
    },
    /// One term of a node's adjoint.
    Combine(Combine),
    /// Copies the sums of a block of 2×2 pixels, row by row, to where they belong. The pixel behind the block
    /// may be spoilt: blocks of a row are to be finished from left to right, with a pixel of room behind.
    Block {
        target: *mut f32,
        /// Values from row to row of pixels.
        row: usize,
        /// Values of a row of the block, which are half of the sums that count.
        values: usize,
    },
    /// a′ = f′ · z′, and `bend` ← bend · z′.
    Tangent { target: *mut f32, slope: *const f32, bend: *mut f32 },
}

/// Where vectors of sums belong: the offset of the first in every buffer, the step to the next, and their channel in the
/// bias.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) at: usize,
    pub(crate) step: usize,
    pub(crate) channel: usize,
}

/// target ← g = sums (+ target); then, where present, in this order: bend ← curvature · g; g ← g · slope;
/// g ← g + extra.
#[derive(Clone, Copy)]
pub(crate) struct Combine {
    pub(crate) target: *mut f32,
    pub(crate) accumulate: bool,
    /// Present together with `bend`.
    pub(crate) curvature: *const f32,
    pub(crate) bend: *mut f32,
    pub(crate) slope: *const f32,
    pub(crate) extra: *const f32,
}

// SAFETY: the pointers are to buffers of the executor; threads write disjoint tiles of them.
unsafe impl Send for Epilogue {}
// SAFETY: as above.
unsafe impl Sync for Epilogue {}

/// `pointer + by`, keeping null.
fn shifted(pointer: *mut f32, by: usize) -> *mut f32 {
    if pointer.is_null() { pointer } else { pointer.wrapping_add(by) }
}

impl Epilogue {
    /// The same for another image, `by` values further in every buffer.
    pub(crate) fn image(self, by: usize) -> Epilogue {
        match self {
            Epilogue::Activate { activation, bias, value, slope, curvature } => Epilogue::Activate {
                activation,
                bias,
                value: shifted(value, by),
                slope: shifted(slope, by),
                curvature: shifted(curvature, by),
            },
            Epilogue::Combine(c) => Epilogue::Combine(Combine {
                target: shifted(c.target, by),
                accumulate: c.accumulate,
                curvature: shifted(c.curvature.cast_mut(), by),
                bend: shifted(c.bend, by),
                slope: shifted(c.slope.cast_mut(), by),
                extra: shifted(c.extra.cast_mut(), by),
            }),
            Epilogue::Block { target, row, values } => {
                Epilogue::Block { target: shifted(target, by), row, values }
            }
            Epilogue::Tangent { target, slope, bend } => Epilogue::Tangent {
                target: shifted(target, by),
                slope: shifted(slope.cast_mut(), by),
                bend: shifted(bend, by),
            },
        }
    }

    /// The buffer that sums are stored in as they are, if that is all that happens to them.
    pub(crate) fn plain_target(&self) -> Option<*mut f32> {
        match self {
            Epilogue::Combine(c)
                if !c.accumulate && c.curvature.is_null() && c.slope.is_null() && c.extra.is_null() =>
            {
                Some(c.target)
            }
            _ => None,
        }
    }

    /// Asks for most of what finishing `values` values from `at` on will read and write.
    ///
    /// # Safety
    /// As [`Simd`].
    #[inline(always)]
    pub(crate) unsafe fn prefetch<S: Simd>(&self, at: usize, values: usize) {
        let arrays = match *self {
            Epilogue::Activate { value, slope, .. } => [value.cast_const(), slope],
            Epilogue::Combine(Combine { target, slope, .. }) => [target.cast_const(), slope],
            Epilogue::Block { .. } | Epilogue::Tangent { .. } => return,
        };
        for array in arrays.into_iter().filter(|array| !array.is_null()) {
            // SAFETY: the caller's contract.
            unsafe { prefetch::<S>(array.wrapping_add(at), values) }
        }
    }

    /// Finishes `vectors` vectors of sums for one pixel.
    ///
    /// # Safety
    /// As [`Simd`]; `sums` is readable for the vectors, and every buffer, at offset `at`, and the bias, at
    /// `channel`, likewise; no other thread touches these places.
    #[inline(always)]
    pub(crate) unsafe fn finish<S: Simd>(&self, sums: *const f32, vectors: usize, at: usize, channel: usize) {
        // SAFETY: the caller's contract, passed on.
        unsafe {
            if let Epilogue::Block { target, row, values } = *self {
                for (y, sums) in [sums, sums.add(values)].into_iter().enumerate() {
                    let to = target.add(at + y * row);
                    // Pixels of three or four channels: what is spoilt is at most the pixel behind.
                    if matches!(values, 6 | EIGHT) && values + EIGHT <= vectors * S::LANES {
                        to.cast::<[f32; EIGHT]>()
                            .write_unaligned(sums.cast::<[f32; EIGHT]>().read_unaligned());
                    } else {
                        for i in 0..values {
                            *to.add(i) = *sums.add(i);
                        }
                    }
                }
                return;
            }
            for i in (0..vectors).map(|v| v * S::LANES) {
                self.finish_row::<S, 1>(
                    [S::load(sums.add(i))],
                    Row { at: at + i, step: 0, channel: channel + i },
                );
            }
        }
    }

    /// Finishes vectors of sums, which are not of a block.
    ///
    /// # Safety
    /// As [`Epilogue::finish`], at each place of the row.
    #[inline(always)]
    pub(crate) unsafe fn finish_row<S: Simd, const N: usize>(&self, sums: [S::V; N], row: Row) {
        let places = || (0..N).map(|i| row.at + i * row.step);
        // SAFETY: the caller's contract, passed on.
        unsafe {
            match *self {
                Epilogue::Activate { activation, bias, value, slope, curvature } => {
                    let bias = S::load(bias.add(row.channel));
                    let inputs = sums.map(|sums| S::add(sums, bias));
                    activate::<S, N>(activation, inputs, |i, a, d, c| {
                        let at = row.at + i * row.step;
                        S::store(value.add(at), a);
                        if !slope.is_null() {
                            S::store(slope.add(at), d);
                        }
                        if !curvature.is_null() {
                            S::store(curvature.add(at), c);
                        }
                    });
                }
                Epilogue::Combine(combine) => {
                    for (sums, at) in sums.into_iter().zip(places()) {
                        combine.finish::<S>(sums, at);
                    }
                }
                Epilogue::Tangent { target, slope, bend } => {
                    for (sums, at) in sums.into_iter().zip(places()) {
                        if !bend.is_null() {
                            S::store(bend.add(at), S::mul(S::load(bend.add(at)), sums));
                        }
                        let value = if slope.is_null() { sums } else { S::mul(sums, S::load(slope.add(at))) };
                        S::store(target.add(at), value);
                    }
                }
                Epilogue::Block { .. } => unreachable!("blocks are finished whole"),
            }
        }
    }
}

impl Combine {
    /// Stores the sums: no term before or after.
    pub(crate) fn store(target: *mut f32) -> Combine {
        Combine {
            target,
            accumulate: false,
            curvature: std::ptr::null(),
            bend: std::ptr::null_mut(),
            slope: std::ptr::null(),
            extra: std::ptr::null(),
        }
    }

    /// Finishes one vector.
    ///
    /// # Safety
    /// As [`Epilogue::finish`].
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, sums: S::V, at: usize) {
        // SAFETY: the caller's contract, passed on.
        unsafe {
            let mut g = sums;
            if self.accumulate {
                g = S::add(g, S::load(self.target.add(at)));
            }
            if !self.curvature.is_null() {
                S::store(self.bend.add(at), S::mul(S::load(self.curvature.add(at)), g));
            }
            if !self.slope.is_null() {
                g = S::mul(g, S::load(self.slope.add(at)));
            }
            if !self.extra.is_null() {
                g = S::add(g, S::load(self.extra.add(at)));
            }
            S::store(self.target.add(at), g);
        }
    }
}
