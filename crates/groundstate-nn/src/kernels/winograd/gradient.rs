//! The weight gradient by Winograd's filtering, transposed: Gᵀ[Σ over tiles of (Bᵀ d B) ⊙ (A ∂y Aᵀ)]G.
//!
//! Three steps: transform a run of tiles; at each place of the tile, add the product of inputs and gradients
//! over the run; at the end, transform the sums into weights.

use std::ops::Range;

use super::algebra::{Algebra, STEP, Three, Two};
use super::{Winograd, transform_input, transposed};
use crate::kernels::weight_gradient::outer;
use crate::simd::Simd;

/// Values between tiles beyond their channels: one cache line, against competition for cache sets.
const GAP: usize = 16;

/// The share that some tiles have in some columns of the sums of products.
pub(crate) struct TileProducts<'a> {
    /// The forward convolution.
    pub(crate) geometry: &'a Winograd,
    /// Input and gradient, from image 0 on.
    pub(crate) x: *const f32,
    pub(crate) g: *const f32,
    /// Tiles of the batch, and how many are summed up before they are added to the sums.
    pub(crate) tiles: Range<usize>,
    pub(crate) run: usize,
    /// Output channels in vectors.
    pub(crate) vectors: Range<usize>,
    /// [`Winograd::run_values`].
    pub(crate) scratch: *mut f32,
    /// `place, depth, channel`, and one value per channel: overwritten in the columns of these vectors.
    pub(crate) sums: *mut f32,
    pub(crate) bias: *mut f32,
}

impl Winograd {
    /// Values between the planes of two places for a run of tiles of so many channels: one cache line more than
    /// the tiles need, as for [`Winograd::plane`].
    fn run_plane(&self, run: usize, channels: usize) -> usize {
        run * (channels + GAP) + 16
    }

    /// Values that the transformed inputs and gradients of a run of tiles take.
    pub(crate) fn run_values(&self, run: usize, lanes: usize) -> usize {
        self.places() * (self.run_plane(run, self.depth()) + self.run_plane(run, self.vectors * lanes))
    }
}

/// Computes some columns of the sums of products over some tiles.
///
/// # Safety
/// As [`Simd`]; the task's pointers are as described, readable also where tiles reach beyond the image
/// (zeros there), and no other thread touches these columns or the scratch.
#[inline(always)]
pub(crate) unsafe fn tile_products<S: Simd, const MR: usize>(task: &TileProducts<'_>) {
    // SAFETY: the caller's contract.
    unsafe {
        match task.geometry.taps {
            3 => tile_products_of::<S, Three, MR>(task),
            _ => tile_products_of::<S, Two, MR>(task),
        }
    }
}

/// # Safety
/// As [`tile_products`].
#[inline(always)]
unsafe fn tile_products_of<S: Simd, A: Algebra, const MR: usize>(task: &TileProducts<'_>) {
    let geometry = task.geometry;
    let (depth, width) = (geometry.depth(), task.vectors.len() * S::LANES);
    let first_channel = task.vectors.start * S::LANES;
    let (x_step, g_step) = (depth + GAP, width + GAP);
    let (x_plane, g_plane) = (geometry.run_plane(task.run, depth), geometry.run_plane(task.run, width));
    // SAFETY: the caller's contract.
    unsafe {
        let (inputs, gradients) = (task.scratch, task.scratch.add(A::SIDE * A::SIDE * x_plane));
        let mut bias = Sums { at: task.bias.add(first_channel), fresh: true };
        for start in task.tiles.clone().step_by(task.run) {
            let count = task.run.min(task.tiles.end - start);
            for tile in 0..count {
                let place = geometry.place(start + tile);
                let from = task.x.add(geometry.input(&place));
                transform_input::<S, A>(geometry, from, inputs.add(tile * x_step), x_plane);
                for channel in (0..width).step_by(S::LANES) {
                    let from = task.g.add(geometry.output(&place) + first_channel + channel);
                    let to = gradients.add(tile * g_step + channel);
                    bias.add::<S>(channel, transform_gradient::<S, A>(geometry, from, to, g_plane));
                }
                bias.fresh = false;
            }
            let fresh = start == task.tiles.start;
            for place in 0..A::SIDE * A::SIDE {
                let (x, g) = (inputs.add(place * x_plane).cast_const(), gradients.add(place * g_plane));
                let sums = task.sums.add(place * geometry.weight_plane(S::LANES) + first_channel);
                products::<S, MR>((x, x_step), (g, g_step), count, (sums, geometry), width, fresh);
            }
        }
    }
}

/// One value per channel, to be added to; `fresh` ones are overwritten.
struct Sums {
    at: *mut f32,
    fresh: bool,
}

impl Sums {
    /// # Safety
    /// As [`tile_products`].
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, channel: usize, value: S::V) {
        // SAFETY: the caller's contract.
        unsafe {
            let to = self.at.add(channel);
            S::store(to, if self.fresh { value } else { S::add(S::load(to), value) });
        }
    }
}

/// Adds one place's product over a run of tiles to `width` columns of its sums.
///
/// # Safety
/// As [`tile_products`].
#[inline(always)]
unsafe fn products<S: Simd, const MR: usize>(
    (x, x_step): (*const f32, usize),
    (g, g_step): (*const f32, usize),
    count: usize,
    (sums, geometry): (*mut f32, &Winograd),
    width: usize,
    fresh: bool,
) {
    let (depth, row_step) = (geometry.depth(), geometry.vectors * S::LANES);
    for column in (0..width).step_by(2 * S::LANES) {
        for row in (0..depth).step_by(MR) {
            let valid = MR.min(depth - row);
            // SAFETY: the caller's contract.
            unsafe {
                let (x, g) = ((x.add(row), x_step), (g.add(column), g_step));
                let sums = (sums.add(row * row_step + column), row_step);
                if column + 2 * S::LANES <= width {
                    outer::<S, MR, 2>(x, g, count, sums, valid, fresh);
                } else {
                    outer::<S, MR, 1>(x, g, count, sums, valid, fresh);
                }
            }
        }
    }
}

/// A y Aᵀ for one vector of channels of one tile, and the sum of y.
///
/// # Safety
/// As [`tile_products`].
#[inline(always)]
unsafe fn transform_gradient<S: Simd, A: Algebra>(
    geometry: &Winograd,
    from: *const f32,
    to: *mut f32,
    plane: usize,
) -> S::V {
    // SAFETY: the caller's contract.
    unsafe {
        let mut sum = S::splat(0.0);
        let mut half = [[S::splat(0.0); 6]; STEP];
        for (i, half) in half.iter_mut().enumerate() {
            let mut y = [S::splat(0.0); STEP];
            for (j, y) in y.iter_mut().enumerate() {
                *y = S::load(from.add(i * geometry.output_row + j * geometry.output_col));
                sum = S::add(sum, *y);
            }
            *half = A::output_gradient::<S>(y);
        }
        for (j, column) in transposed(half).into_iter().enumerate().take(A::SIDE) {
            for (i, &value) in A::output_gradient::<S>(column).iter().enumerate().take(A::SIDE) {
                S::store(to.add((i * A::SIDE + j) * plane), value);
            }
        }
        sum
    }
}

/// Sums of products over all tiles, in shares to be added up in order.
pub(crate) struct Shares {
    /// The first; as in [`TileProducts`].
    pub(crate) sums: *const f32,
    pub(crate) count: usize,
    /// Values from one to the next.
    pub(crate) step: usize,
}

// SAFETY: only read; nothing writes the sums while they are.
unsafe impl Sync for Shares {}

/// Transforms sums of products into weight gradients of one input channel: Gᵀ u G.
///
/// # Shapes
/// `taps`: as in [`transform_weights`](super::transform_weights); `weights`: `kernel place, vectors · LANES`,
/// overwritten in the columns of `vectors`.
///
/// # Safety
/// As [`Simd`]; the pointers are as described, and no other thread touches these weights.
#[inline(always)]
pub(crate) unsafe fn finish_weights<S: Simd>(
    geometry: &Winograd,
    shares: &Shares,
    taps: &[usize],
    channel: usize,
    vectors: Range<usize>,
    weights: *mut f32,
) {
    // SAFETY: the caller's contract.
    unsafe {
        match geometry.taps {
            3 => finish_weights_of::<S, Three>(geometry, shares, taps, channel, vectors, weights),
            _ => finish_weights_of::<S, Two>(geometry, shares, taps, channel, vectors, weights),
        }
    }
}

/// # Safety
/// As [`finish_weights`].
#[inline(always)]
unsafe fn finish_weights_of<S: Simd, A: Algebra>(
    geometry: &Winograd,
    shares: &Shares,
    taps: &[usize],
    channel: usize,
    vectors: Range<usize>,
    weights: *mut f32,
) {
    let (width, plane) = (geometry.vectors * S::LANES, geometry.weight_plane(S::LANES));
    for (phase, taps) in taps.chunks_exact(A::TAPS * A::TAPS).enumerate() {
        for column in vectors.clone().map(|v| v * S::LANES) {
            // SAFETY: the caller's contract.
            unsafe {
                let from = shares.sums.add((phase * geometry.channels + channel) * width + column);
                let mut half = [[S::splat(0.0); 3]; 6];
                for (j, half) in half.iter_mut().enumerate().take(A::SIDE) {
                    let mut u = [S::splat(0.0); 6];
                    for (i, u) in u.iter_mut().enumerate().take(A::SIDE) {
                        let from = from.add((i * A::SIDE + j) * plane);
                        *u = S::load(from);
                        for share in 1..shares.count {
                            *u = S::add(*u, S::load(from.add(share * shares.step)));
                        }
                    }
                    *half = A::weight_gradient::<S>(u);
                }
                for (i, row) in transposed(half).into_iter().enumerate().take(A::TAPS) {
                    for (j, &value) in A::weight_gradient::<S>(row).iter().enumerate().take(A::TAPS) {
                        S::store(weights.add(taps[i * A::TAPS + j] * width + column), value);
                    }
                }
            }
        }
    }
}
