//! The weight gradient by Winograd's filtering, transposed: Gᵀ[Σ over tiles of (Bᵀ d B) ⊙ (A ∂y Aᵀ)]G.
//!
//! Three steps: transform a chunk of tiles; at each place of the tile, add the product of inputs and
//! gradients over the chunk; at the end, transform the sums into weights.

use super::algebra::{Algebra, STEP, Three, Two};
use super::{Winograd, transform_input, transposed};
use crate::kernels::weight_gradient::outer;
use crate::simd::Simd;

/// Values between tiles beyond their channels: one cache line, against competition for cache sets.
const GAP: usize = 16;

/// Some tiles of a chunk, to be transformed.
pub(crate) struct GradientTiles<'a> {
    /// The forward convolution.
    pub(crate) geometry: &'a Winograd,
    /// Input and gradient, from image 0 on.
    pub(crate) x: *const f32,
    pub(crate) g: *const f32,
    /// Tiles `first .. first + count` of the batch, at place `slot` of the chunk on.
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) slot: usize,
    /// Tiles of a whole chunk.
    pub(crate) chunk: usize,
    /// `place, tile, depth` and `place, tile, channel`; see [`Winograd::chunk_values`].
    pub(crate) inputs: *mut f32,
    pub(crate) gradients: *mut f32,
    /// One value per channel, to which the tiles' gradients are added.
    pub(crate) bias: *mut f32,
}

/// Rows of the product at one place, over a chunk.
pub(crate) struct PlaceProduct<'a> {
    pub(crate) geometry: &'a Winograd,
    pub(crate) place: usize,
    /// Rows `first .. last` of the depth.
    pub(crate) first: usize,
    pub(crate) last: usize,
    /// Tiles in this chunk, and of a whole chunk.
    pub(crate) count: usize,
    pub(crate) chunk: usize,
    /// Tiles that are summed up before they are added to the sums.
    pub(crate) run: usize,
    /// As in [`GradientTiles`].
    pub(crate) inputs: *const f32,
    pub(crate) gradients: *const f32,
    /// `place, depth, channel`, to be added to, or with `fresh` to be overwritten.
    pub(crate) sums: *mut f32,
    pub(crate) fresh: bool,
}

impl Winograd {
    /// Values that a chunk's transformed inputs and gradients take.
    pub(crate) fn chunk_values(&self, chunk: usize, lanes: usize) -> (usize, usize) {
        let values = |channels: usize| self.places() * chunk * (channels + GAP);
        (values(self.depth()), values(self.vectors * lanes))
    }
}

/// Transforms inputs and gradients of some tiles.
///
/// # Safety
/// As [`Simd`]; the task's pointers are as described, readable also where tiles reach beyond the image
/// (zeros there), and no other thread touches these tiles of the chunk or the bias.
#[inline(always)]
pub(crate) unsafe fn transform_tiles<S: Simd>(task: &GradientTiles<'_>) {
    // SAFETY: the caller's contract.
    unsafe {
        match task.geometry.taps {
            3 => transform_tiles_of::<S, Three>(task),
            _ => transform_tiles_of::<S, Two>(task),
        }
    }
}

/// # Safety
/// As [`transform_tiles`].
#[inline(always)]
unsafe fn transform_tiles_of<S: Simd, A: Algebra>(task: &GradientTiles<'_>) {
    let geometry = task.geometry;
    let (depth, width) = (geometry.depth() + GAP, geometry.vectors * S::LANES + GAP);
    for tile in 0..task.count {
        let place = geometry.place(task.first + tile);
        let slot = task.slot + tile;
        // SAFETY: the caller's contract.
        unsafe {
            let from = task.x.add(geometry.input(&place));
            transform_input::<S, A>(geometry, from, task.inputs.add(slot * depth), task.chunk * depth);
            for vector in 0..geometry.vectors {
                let channel = vector * S::LANES;
                let from = task.g.add(geometry.output(&place) + channel);
                let to = task.gradients.add(slot * width + channel);
                let bias = task.bias.add(channel);
                let sum = transform_gradient::<S, A>(geometry, from, to, task.chunk * width);
                S::store(bias, S::add(S::load(bias), sum));
            }
        }
    }
}

/// A y Aᵀ for one vector of channels of one tile, and the sum of y.
///
/// # Safety
/// As [`transform_tiles`].
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

/// Adds one place's product over a chunk.
///
/// # Safety
/// As [`Simd`]; the task's pointers are as described, and no other thread touches these rows of the sums.
#[inline(always)]
pub(crate) unsafe fn accumulate<S: Simd, const MR: usize>(task: &PlaceProduct<'_>) {
    let geometry = task.geometry;
    let (depth, vectors) = (geometry.depth(), geometry.vectors);
    let width = vectors * S::LANES;
    // SAFETY: the caller's contract.
    unsafe {
        let x = task.inputs.add(task.place * task.chunk * (depth + GAP));
        let g = task.gradients.add(task.place * task.chunk * (width + GAP));
        let sums = task.sums.add(task.place * geometry.weight_plane(S::LANES));
        for from in (0..task.count).step_by(task.run) {
            let count = task.run.min(task.count - from);
            let fresh = task.fresh && from == 0;
            for vector in (0..vectors).step_by(2) {
                let g = g.add(from * (width + GAP) + vector * S::LANES);
                for row in (task.first..task.last).step_by(MR) {
                    let valid = MR.min(task.last - row);
                    let x = x.add(from * (depth + GAP) + row);
                    let sums = sums.add(row * width + vector * S::LANES);
                    if vector + 2 <= vectors {
                        outer::<S, MR, 2>(
                            (x, depth + GAP),
                            (g, width + GAP),
                            count,
                            (sums, width),
                            valid,
                            fresh,
                        );
                    } else {
                        outer::<S, MR, 1>(
                            (x, depth + GAP),
                            (g, width + GAP),
                            count,
                            (sums, width),
                            valid,
                            fresh,
                        );
                    }
                }
            }
        }
    }
}

/// Transforms sums of products into weight gradients: Gᵀ u G.
///
/// # Shapes
/// `sums`: as in [`PlaceProduct`]; `taps`: as in [`transform_weights`](super::transform_weights);
/// `weights`: `kernel place, channels, vectors · LANES`, overwritten for channel `channel`.
///
/// # Safety
/// As [`Simd`]; the pointers are as described, and no other thread touches these weights.
#[inline(always)]
pub(crate) unsafe fn finish_weights<S: Simd>(
    geometry: &Winograd,
    sums: *const f32,
    taps: &[usize],
    channel: usize,
    weights: *mut f32,
) {
    // SAFETY: the caller's contract.
    unsafe {
        match geometry.taps {
            3 => finish_weights_of::<S, Three>(geometry, sums, taps, channel, weights),
            _ => finish_weights_of::<S, Two>(geometry, sums, taps, channel, weights),
        }
    }
}

/// # Safety
/// As [`finish_weights`].
#[inline(always)]
unsafe fn finish_weights_of<S: Simd, A: Algebra>(
    geometry: &Winograd,
    sums: *const f32,
    taps: &[usize],
    channel: usize,
    weights: *mut f32,
) {
    let (width, plane) = (geometry.vectors * S::LANES, geometry.weight_plane(S::LANES));
    for (phase, taps) in taps.chunks_exact(A::TAPS * A::TAPS).enumerate() {
        for column in (0..width).step_by(S::LANES) {
            // SAFETY: the caller's contract.
            unsafe {
                let from = sums.add((phase * geometry.channels + channel) * width + column);
                let mut half = [[S::splat(0.0); 3]; 6];
                for (j, half) in half.iter_mut().enumerate().take(A::SIDE) {
                    let mut u = [S::splat(0.0); 6];
                    for (i, u) in u.iter_mut().enumerate().take(A::SIDE) {
                        *u = S::load(from.add((i * A::SIDE + j) * plane));
                    }
                    *half = A::weight_gradient::<S>(u);
                }
                for (i, row) in transposed(half).into_iter().enumerate().take(A::TAPS) {
                    for (j, &value) in A::weight_gradient::<S>(row).iter().enumerate().take(A::TAPS) {
                        let tap = taps[i * A::TAPS + j];
                        S::store(weights.add((tap * geometry.channels + channel) * width + column), value);
                    }
                }
            }
        }
    }
}
