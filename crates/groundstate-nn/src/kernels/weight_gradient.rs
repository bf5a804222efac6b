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
    /// Kernel row, and the first of the values in it that this task covers.
    pub(crate) kernel_row: usize,
    pub(crate) first: usize,
    /// How many, at most the backend's block height.
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

/// Runs one task. `panel` holds [`PANEL`] + `cols` pixels of one vector each.
///
/// # Safety
/// As [`Simd`]; the task's pointers are as described, `panel` is as large as said and used by no other.
#[inline(always)]
pub(crate) unsafe fn correlate<S: Simd, const MR: usize>(task: &Correlation<'_>, panel: *mut f32) {
    let geometry = task.geometry;
    let (rows, cols) = (geometry.rows, geometry.cols);
    let panel_rows = (PANEL / cols).max(1);
    let mut row = task.from;
    while row < task.to {
        let (image, first) = (row / rows, row % rows);
        let count = panel_rows.min(rows - first).min(task.to - row);
        // SAFETY: the caller's contract.
        unsafe {
            let x = task.x.add(
                image * task.image + geometry.input + task.kernel_row * geometry.run_stride + task.first,
            );
            for r in 0..count {
                for col in 0..cols {
                    let from = x.add((first + r) * geometry.input_row + col * geometry.input_col);
                    S::store(panel.add((r * cols + col) * S::LANES), S::load(from));
                }
            }
            let pixels = rows * cols;
            let mut vector = 0;
            while vector < geometry.vectors {
                let width = 2.min(geometry.vectors - vector);
                let packed = task.packed.add(image * pixels * geometry.vectors * S::LANES);
                let g = packed.add((vector * pixels + first * cols * width) * S::LANES);
                let sums = task.sums.add(vector * S::LANES);
                if width == 2 {
                    outer::<S, MR, 2>(panel, g, count * cols, sums, geometry.vectors, task.count);
                } else {
                    outer::<S, MR, 1>(panel, g, count * cols, sums, geometry.vectors, task.count);
                }
                vector += 2;
            }
        }
        row += count;
    }
}

/// Adds Σ over pixels of panel value · gradient vector to the first `valid` of `MR` rows of sums.
///
/// # Safety
/// As [`correlate`].
#[inline(always)]
unsafe fn outer<S: Simd, const MR: usize, const NV: usize>(
    panel: *const f32,
    g: *const f32,
    pixels: usize,
    sums: *mut f32,
    vectors: usize,
    valid: usize,
) {
    // SAFETY: the caller's contract.
    unsafe {
        let mut block = [[S::splat(0.0); NV]; MR];
        for pixel in 0..pixels {
            let mut v = [S::splat(0.0); NV];
            for (i, v) in v.iter_mut().enumerate() {
                *v = S::load(g.add((pixel * NV + i) * S::LANES));
            }
            for (i, block) in block.iter_mut().enumerate() {
                let value = S::splat(*panel.add(pixel * S::LANES + i));
                for (sum, &v) in block.iter_mut().zip(&v) {
                    *sum = S::mul_add(value, v, *sum);
                }
            }
        }
        for (i, block) in block.iter().enumerate().take(valid) {
            for (v, &sum) in block.iter().enumerate() {
                let to = sums.add((i * vectors + v) * S::LANES);
                S::store(to, S::add(S::load(to), sum));
            }
        }
    }
}
