//! Layers without parameters, and their transposes: each output pixel is a sum of one or four inputs.

use std::ops::Range;

use super::epilogue::{Epilogue, Row};
use crate::simd::{Portable, Simd};

/// Which input pixels an output pixel reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// The one at the same place.
    Same,
    /// The one at half the coordinates, rounded down.
    Half,
    /// The 2×2 block at twice the coordinates.
    Double,
}

/// Sums of input pixels. All offsets are in values from the start of one image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gather {
    pub(crate) mapping: Mapping,
    pub(crate) factor: f32,
    /// Offset of input pixel (0, 0), of its first channel used, and steps per input row and column.
    pub(crate) input: usize,
    pub(crate) input_row: usize,
    pub(crate) input_col: usize,
    /// The same of the output.
    pub(crate) output: usize,
    pub(crate) output_row: usize,
    pub(crate) output_col: usize,
    /// Output pixels.
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Channels.
    pub(crate) channels: usize,
    /// Channels after these that are finished as sums of zero.
    pub(crate) padding: usize,
}

/// Computes output rows `rows` of one image.
///
/// # Safety
/// As [`Simd`]; `x` is readable at every offset the geometry gives for these rows, the epilogue's buffers
/// writable at every output offset, and no other thread touches those outputs.
#[inline(always)]
pub(crate) unsafe fn gather<S: Simd>(
    geometry: &Gather,
    x: *const f32,
    rows: Range<usize>,
    epilogue: &Epilogue,
) {
    if is_copy(geometry)
        && let Some(target) = epilogue.plain_target()
    {
        // SAFETY: the caller's contract.
        return unsafe { copy_channels::<S>(geometry, x, rows, target) };
    }
    let (channels, end) = (geometry.channels, geometry.channels + geometry.padding);
    // Whole vectors, also where one ends in padding that is finished with it.
    let whole = (if geometry.padding > 0 { end } else { channels }) / S::LANES * S::LANES;
    for row in rows {
        for col in 0..geometry.cols {
            let at = geometry.output + row * geometry.output_row + col * geometry.output_col;
            // SAFETY: the caller's contract.
            unsafe {
                let input =
                    |row, col| x.add(geometry.input + row * geometry.input_row + col * geometry.input_col);
                let (from, block) = match geometry.mapping {
                    Mapping::Same => (input(row, col), false),
                    Mapping::Half => (input(row / 2, col / 2), false),
                    Mapping::Double => (input(2 * row, 2 * col), true),
                };
                for c in (0..whole).step_by(S::LANES) {
                    sum::<S>(geometry, from.add(c), block, channels.saturating_sub(c), at + c, epilogue);
                }
                for c in whole..end {
                    sum::<Portable<1>>(
                        geometry,
                        from.add(c),
                        block,
                        channels.saturating_sub(c),
                        at + c,
                        epilogue,
                    );
                }
            }
        }
    }
}

/// Whether pixels are copied as they are, once or four times: into a concatenation.
fn is_copy(geometry: &Gather) -> bool {
    let Gather { mapping, factor, padding, .. } = *geometry;
    mapping != Mapping::Double && factor == 1.0 && padding == 0
}

/// Copies the channels of the pixels of `rows`.
///
/// # Safety
/// As [`gather`], `target` being the only buffer written.
#[inline(always)]
unsafe fn copy_channels<S: Simd>(geometry: &Gather, x: *const f32, rows: Range<usize>, target: *mut f32) {
    let step = if geometry.mapping == Mapping::Half { 2 } else { 1 };
    let whole = geometry.channels / S::LANES * S::LANES;
    for row in rows {
        // SAFETY: the caller's contract.
        unsafe {
            let from = x.add(geometry.input + row / step * geometry.input_row);
            let to = target.add(geometry.output + row * geometry.output_row);
            for col in 0..geometry.cols {
                let from = from.add(col / step * geometry.input_col);
                let to = to.add(col * geometry.output_col);
                for c in (0..whole).step_by(S::LANES) {
                    S::store(to.add(c), S::load(from.add(c)));
                }
                for c in whole..geometry.channels {
                    *to.add(c) = *from.add(c);
                }
            }
        }
    }
}

/// One vector of one pixel, of which the first `valid` values count; the others are zero.
///
/// # Safety
/// As [`gather`]; the input is readable for the whole vector.
#[inline(always)]
unsafe fn sum<S: Simd>(
    geometry: &Gather,
    from: *const f32,
    block: bool,
    valid: usize,
    at: usize,
    epilogue: &Epilogue,
) {
    // SAFETY: the caller's contract.
    unsafe {
        let mut value = S::load(from);
        if block {
            let (right, down) = (geometry.input_col, geometry.input_row);
            let upper = S::add(value, S::load(from.add(right)));
            let lower = S::add(S::load(from.add(down)), S::load(from.add(down + right)));
            value = S::add(upper, lower);
        }
        value = S::mul(value, S::splat(geometry.factor));
        if valid < S::LANES {
            let mut sums = [0.0f32; 16];
            S::store(sums.as_mut_ptr(), value);
            sums[valid..S::LANES].fill(0.0);
            value = S::load(sums.as_ptr());
        }
        epilogue.finish_row::<S, 1>([value], Row { at, step: 0, channel: 0 });
    }
}
