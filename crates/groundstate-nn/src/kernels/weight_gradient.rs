//! The weight gradient of a convolution: correlation of its input with the gradient of its sums.

use std::ops::Range;

use super::direct::Direct;
use crate::simd::Simd;

/// Pixels that all rows of a task meet before the next ones come: what they read stays in the first-level cache.
const PIXELS: usize = 256;

/// One task: some rows of the weight gradient over a range of the batch's output rows.
pub(crate) struct Correlation<'a> {
    /// The forward convolution.
    pub(crate) geometry: &'a Direct,
    /// Input and gradient, from image 0 on, and values per image of each.
    pub(crate) x: *const f32,
    pub(crate) x_image: usize,
    pub(crate) g: *const f32,
    pub(crate) g_image: usize,
    /// Output rows of all images, counted through: `image · rows + row`.
    pub(crate) rows: Range<usize>,
    /// Which [`Direct::block`]s of the values read per output pixel.
    pub(crate) blocks: Range<usize>,
    /// `depth` rows of all output channels, `vectors · LANES` apart: those of the blocks are added to.
    pub(crate) sums: *mut f32,
    /// One value per output channel, to which the gradient itself is added, or null.
    pub(crate) bias: *mut f32,
}

impl Direct {
    /// Register blocks of at most `height` values that lie side by side, of all that are read per output pixel.
    pub(crate) fn blocks(&self, height: usize) -> usize {
        self.runs * self.run_len.div_ceil(height)
    }

    /// The offset of a block's first value, and which of all values it has.
    pub(crate) fn block(&self, number: usize, height: usize) -> (usize, Range<usize>) {
        let of_run = self.run_len.div_ceil(height);
        let (run, first) = (number / of_run, number % of_run * height);
        let start = run * self.run_len + first;
        (run * self.run_stride + first, start..start + height.min(self.run_len - first))
    }
}

/// Runs one task.
///
/// # Safety
/// As [`Simd`]; the task's pointers are as described, `x` readable for `MR` values from each block on, and no other
/// thread touches these sums.
#[inline(always)]
pub(crate) unsafe fn correlate<S: Simd, const MR: usize>(task: &Correlation<'_>) {
    let geometry = task.geometry;
    let (rows, cols, width) = (geometry.rows, geometry.cols, geometry.vectors * S::LANES);
    let mut row = task.rows.start;
    while row < task.rows.end {
        let (image, first) = (row / rows, row % rows);
        let count = (PIXELS / cols).max(1).min(rows - first).min(task.rows.end - row);
        // SAFETY: the caller's contract.
        unsafe {
            let x = task.x.add(image * task.x_image + geometry.input + first * geometry.input_row);
            let g = task.g.add(image * task.g_image + geometry.output + first * geometry.output_row);
            let x = Operand { values: x, row: geometry.input_row, col: geometry.input_col };
            let g = Operand { values: g, row: geometry.output_row, col: geometry.output_col };
            for block in task.blocks.clone() {
                let (offset, values) = geometry.block(block, MR);
                let (x, size) = (x.from(offset), (count, cols));
                for channel in (0..width).step_by(2 * S::LANES) {
                    let (g, sums) = (g.from(channel), task.sums.add(values.start * width + channel));
                    if channel + 2 * S::LANES <= width {
                        outer::<S, MR, 2>(x, g, size, (sums, width), values.len(), false);
                    } else {
                        outer::<S, MR, 1>(x, g, size, (sums, width), values.len(), false);
                    }
                }
            }
            if !task.bias.is_null() {
                for channel in (0..width).step_by(S::LANES) {
                    add::<S>(g.from(channel), (count, cols), task.bias.add(channel));
                }
            }
        }
        row += count;
    }
}

/// Values at the pixels of a rectangle.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    pub(super) values: *const f32,
    /// Steps from row to row and from pixel to pixel.
    pub(super) row: usize,
    pub(super) col: usize,
}

impl Operand {
    /// The same from a value on.
    #[inline(always)]
    fn from(self, offset: usize) -> Self {
        Self { values: self.values.wrapping_add(offset), ..self }
    }

    #[inline(always)]
    fn at_row(&self, row: usize) -> *const f32 {
        self.values.wrapping_add(row * self.row)
    }
}

/// Adds up one vector over all pixels of a rectangle.
///
/// # Safety
/// As [`Simd`]; `g` is readable for a vector at each pixel, and `to` is one that no other thread touches.
#[inline(always)]
unsafe fn add<S: Simd>(g: Operand, (rows, cols): (usize, usize), to: *mut f32) {
    // SAFETY: the caller's contract.
    unsafe {
        let mut sum = S::load(to);
        for row in 0..rows {
            let g_row = g.at_row(row);
            for col in 0..cols {
                sum = S::add(sum, S::load(g_row.add(col * g.col)));
            }
        }
        S::store(to, sum);
    }
}

/// Adds Σ over pixels of x value · gradient vector to the first `valid` of `MR` rows of sums; where they are
/// `fresh`, writes it. The sums are given with their step from row to row.
///
/// # Safety
/// As [`Simd`]; `x` is readable for `MR` values and `g` for `NV` vectors at each pixel, and the sums are
/// writable for `NV` vectors in each valid row.
#[inline(always)]
pub(super) unsafe fn outer<S: Simd, const MR: usize, const NV: usize>(
    x: Operand,
    g: Operand,
    (rows, cols): (usize, usize),
    (sums, sums_step): (*mut f32, usize),
    valid: usize,
    fresh: bool,
) {
    // SAFETY: the caller's contract.
    unsafe {
        let mut block = [[S::splat(0.0); NV]; MR];
        for row in 0..rows {
            let (mut x_pixel, mut g_pixel) = (x.at_row(row), g.at_row(row));
            for _ in 0..cols {
                let mut v = [S::splat(0.0); NV];
                for (i, v) in v.iter_mut().enumerate() {
                    *v = S::load(g_pixel.add(i * S::LANES));
                }
                for (i, block) in block.iter_mut().enumerate() {
                    let value = S::splat(*x_pixel.add(i));
                    for (sum, &v) in block.iter_mut().zip(&v) {
                        *sum = S::mul_add(value, v, *sum);
                    }
                }
                (x_pixel, g_pixel) = (x_pixel.wrapping_add(x.col), g_pixel.wrapping_add(g.col));
            }
        }
        for (i, block) in block.iter().enumerate().take(valid) {
            for (v, &sum) in block.iter().enumerate() {
                let to = sums.add(i * sums_step + v * S::LANES);
                S::store(to, if fresh { sum } else { S::add(S::load(to), sum) });
            }
        }
    }
}
