//! The weight gradient of a convolution: correlation of its input with the gradient of its sums.
//!
//! Both sides are first packed so that the inner loop reads consecutive memory: the gradient once per
//! layer into `image, channel block, pixel`, the input per task into panels of a few channels.

use super::direct::Direct;
use crate::simd::Simd;

/// Pixels of one input panel.
pub(crate) const PANEL: usize = 256;

/// One task: rows of the weight gradient over a range of the batch's output rows.
pub(crate) struct Correlation<'a> {
    /// The forward convolution.
    pub(crate) geometry: &'a Direct,
    /// Start of the input of image 0, and values per image.
    pub(crate) x: *const f32,
    pub(crate) image: usize,
    /// Packed gradient; see [`pack_gradient`].
    pub(crate) packed: *const f32,
    /// Output rows of all images, counted through: `image · rows + row`.
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// The first of the values read per output pixel that this task covers, and how many, at most the
    /// backend's block height.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// `count` rows of all output channels, `vectors · LANES` apart, to be added to.
    pub(crate) sums: *mut f32,
}

/// Copies row `row` of one image's gradient into blocks of two vectors of channels (a last single one if
/// odd), `block, pixel, channel`, and adds it up into `bias`.
///
/// # Safety
/// As [`Simd`]; `from` is readable for the row's pixels, `to` writable for all pixels of the image, `bias`
/// for one value per channel.
#[inline(always)]
pub(crate) unsafe fn pack_gradient<S: Simd>(
    geometry: &Direct,
    from: *const f32,
    to: *mut f32,
    row: usize,
    bias: *mut f32,
) {
    let pixels = geometry.rows * geometry.cols;
    for vector in 0..geometry.vectors {
        let first = vector / 2 * 2;
        let width = 2.min(geometry.vectors - first);
        // SAFETY: the caller's contract.
        unsafe {
            let to = to.add((first * pixels + row * geometry.cols * width + vector - first) * S::LANES);
            let channel = vector * S::LANES;
            let mut sum = S::load(bias.add(channel));
            for col in 0..geometry.cols {
                let g = S::load(from.add(col * geometry.output_col + channel));
                S::store(to.add(col * width * S::LANES), g);
                sum = S::add(sum, g);
            }
            S::store(bias.add(channel), sum);
        }
    }
}

/// Runs one task. `panel` holds [`PANEL`] + `cols` pixels of one vector each, and one vector more.
///
/// # Safety
/// As [`Simd`]; the task's pointers are as described, `panel` is as large as said and used by no other.
#[inline(always)]
pub(crate) unsafe fn correlate<S: Simd, const MR: usize>(task: &Correlation<'_>, panel: *mut f32) {
    let geometry = task.geometry;
    let (rows, cols) = (geometry.rows, geometry.cols);
    let (runs, run_count) = runs::<MR>(task);
    let panel_rows = (PANEL / cols).max(1);
    let mut row = task.from;
    while row < task.to {
        let (image, first) = (row / rows, row % rows);
        let count = panel_rows.min(rows - first).min(task.to - row);
        // SAFETY: the caller's contract.
        unsafe {
            let x = task.x.add(image * task.image + geometry.input);
            for r in 0..count {
                for col in 0..cols {
                    let from = x.add((first + r) * geometry.input_row + col * geometry.input_col);
                    let to = panel.add((r * cols + col) * S::LANES);
                    // Each store reaches beyond its run, into what later ones overwrite.
                    for &(offset, slot) in &runs[..run_count] {
                        S::store(to.add(slot), S::load(from.add(offset)));
                    }
                }
            }
            let pixels = rows * cols;
            let mut vector = 0;
            while vector < geometry.vectors {
                let width = 2.min(geometry.vectors - vector);
                let packed = task.packed.add(image * pixels * geometry.vectors * S::LANES);
                let g = packed.add((vector * pixels + first * cols * width) * S::LANES);
                let sums = task.sums.add(vector * S::LANES);
                let (x, g) = ((panel.cast_const(), S::LANES), (g, width * S::LANES));
                let sums = (sums, geometry.vectors * S::LANES);
                if width == 2 {
                    outer::<S, MR, 2>(x, g, count * cols, sums, task.count, false);
                } else {
                    outer::<S, MR, 1>(x, g, count * cols, sums, task.count, false);
                }
                vector += 2;
            }
        }
        row += count;
    }
}

/// Where the values of a task lie: for each kernel row that it reaches, the offset of the first of them, and
/// its place among all of them.
fn runs<const MR: usize>(task: &Correlation<'_>) -> ([(usize, usize); MR], usize) {
    let Direct { run_len, run_stride, .. } = *task.geometry;
    let (mut runs, mut count, mut slot) = ([(0, 0); MR], 0, 0);
    while slot < task.count {
        let (run, within) = ((task.first + slot) / run_len, (task.first + slot) % run_len);
        runs[count] = (run * run_stride + within, slot);
        slot += run_len - within;
        count += 1;
    }
    (runs, count)
}

/// Adds Σ over pixels of x value · gradient vector to the first `valid` of `MR` rows of sums; where they are
/// `fresh`, writes it. Each array is given with its step: from pixel to pixel, and from row to row of the
/// sums.
///
/// # Safety
/// As [`Simd`]; `x` is readable for `MR` values and `g` for `NV` vectors at each pixel, and the sums are
/// writable for `NV` vectors in each valid row.
#[inline(always)]
pub(super) unsafe fn outer<S: Simd, const MR: usize, const NV: usize>(
    (x, x_step): (*const f32, usize),
    (g, g_step): (*const f32, usize),
    pixels: usize,
    (sums, sums_step): (*mut f32, usize),
    valid: usize,
    fresh: bool,
) {
    // SAFETY: the caller's contract.
    unsafe {
        let mut block = [[S::splat(0.0); NV]; MR];
        let (mut x, mut g) = (x, g);
        for _ in 0..pixels {
            let mut v = [S::splat(0.0); NV];
            for (i, v) in v.iter_mut().enumerate() {
                *v = S::load(g.add(i * S::LANES));
            }
            for (i, block) in block.iter_mut().enumerate() {
                let value = S::splat(*x.add(i));
                for (sum, &v) in block.iter_mut().zip(&v) {
                    *sum = S::mul_add(value, v, *sum);
                }
            }
            (x, g) = (x.wrapping_add(x_step), g.wrapping_add(g_step));
        }
        for (i, block) in block.iter().enumerate().take(valid) {
            for (v, &sum) in block.iter().enumerate() {
                let to = sums.add(i * sums_step + v * S::LANES);
                S::store(to, if fresh { sum } else { S::add(S::load(to), sum) });
            }
        }
    }
}
