//! The weight gradient by Winograd's filtering, transposed: Gᵀ[Σ over tiles of (Bᵀ d B) ⊙ (A ∂y Aᵀ)]G.
//!
//! Three steps for each run of tiles: transform them; for a block of weights, sum up the products of inputs and
//! gradients at each place of the tile; transform these sums, which are still in the cache, into weights.

use std::ops::Range;

use super::algebra::{Algebra, STEP, Three, Two};
use super::{Winograd, transform_input, transposed};
use crate::kernels::weight_gradient::outer;
use crate::simd::Simd;

/// Values between tiles beyond their channels: one cache line, against competition for cache sets.
const GAP: usize = 16;
/// Vectors of a block of weights.
const BLOCK: usize = 2;

/// The share that some tiles have in some columns of a weight gradient.
pub(crate) struct TileGradient<'a> {
    /// The forward convolution, and for each phase the kernel places of its filter's taps.
    pub(crate) geometry: &'a Winograd,
    pub(crate) taps: &'a [usize],
    /// Input and gradient, from image 0 on.
    pub(crate) x: *const f32,
    pub(crate) g: *const f32,
    /// Tiles of the batch, and how many make a run.
    pub(crate) tiles: Range<usize>,
    pub(crate) run: usize,
    /// Output channels in vectors.
    pub(crate) vectors: Range<usize>,
    /// [`Winograd::gradient_scratch`].
    pub(crate) scratch: *mut f32,
    /// `kernel place, channel, output channel`, and one value per output channel: overwritten in the columns of
    /// these vectors.
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

    /// Values that the sums of a block of `rows` input channels take besides.
    pub(crate) fn gradient_scratch(&self, run: usize, rows: usize, lanes: usize) -> usize {
        self.run_values(run, lanes) + self.places() * rows * BLOCK * lanes
    }
}

/// Computes some columns of a weight gradient over some tiles.
///
/// # Safety
/// As [`Simd`]; the task's pointers are as described, readable also where tiles reach beyond the image
/// (zeros there), and no other thread touches these columns or the scratch.
#[inline(always)]
pub(crate) unsafe fn tile_gradient<S: Simd, const MR: usize>(task: &TileGradient<'_>) {
    // SAFETY: the caller's contract.
    unsafe {
        match task.geometry.taps {
            3 => tile_gradient_of::<S, Three, MR>(task),
            _ => tile_gradient_of::<S, Two, MR>(task),
        }
    }
}

/// # Safety
/// As [`tile_gradient`].
#[inline(always)]
unsafe fn tile_gradient_of<S: Simd, A: Algebra, const MR: usize>(task: &TileGradient<'_>) {
    let geometry = task.geometry;
    let (depth, width) = (geometry.depth(), task.vectors.len() * S::LANES);
    let first_channel = task.vectors.start * S::LANES;
    let (x_step, g_step) = (depth + GAP, width + GAP);
    let (x_plane, g_plane) = (geometry.run_plane(task.run, depth), geometry.run_plane(task.run, width));
    // SAFETY: the caller's contract.
    unsafe {
        let (x, g) = (task.scratch, task.scratch.add(A::SIDE * A::SIDE * x_plane));
        let block = g.add(A::SIDE * A::SIDE * g_plane);
        let bias = task.bias.add(first_channel);
        for start in task.tiles.clone().step_by(task.run) {
            let count = task.run.min(task.tiles.end - start);
            let fresh = start == task.tiles.start;
            for tile in 0..count {
                let place = geometry.place(start + tile);
                let from = task.x.add(geometry.input(&place));
                transform_input::<S, A>(geometry, from, x.add(tile * x_step), x_plane);
                for channel in (0..width).step_by(S::LANES) {
                    let from = task.g.add(geometry.output(&place) + first_channel + channel);
                    let to = g.add(tile * g_step + channel);
                    let sum = transform_gradient::<S, A>(geometry, from, to, g_plane);
                    put::<S>(bias.add(channel), sum, fresh && tile == 0);
                }
            }
            let x = Planes { values: x, step: x_step, plane: x_plane };
            let g = Planes { values: g, step: g_step, plane: g_plane };
            for column in (0..width).step_by(BLOCK * S::LANES) {
                let weights = Weights { task, column: first_channel + column, fresh };
                for row in (0..depth).step_by(MR) {
                    let (x, g, rows) = (x.from(row), g.from(column), row..(row + MR).min(depth));
                    if column + BLOCK * S::LANES <= width {
                        weights.add::<S, A, MR, BLOCK>(x, g, count, rows, block);
                    } else {
                        weights.add::<S, A, MR, 1>(x, g, count, rows, block);
                    }
                }
            }
        }
    }
}

/// Transformed values of a run of tiles, some channels of them.
#[derive(Clone, Copy)]
struct Planes {
    values: *const f32,
    /// Values from tile to tile, and from place to place.
    step: usize,
    plane: usize,
}

impl Planes {
    /// Those from a channel on.
    #[inline(always)]
    fn from(self, channel: usize) -> Self {
        Self { values: self.values.wrapping_add(channel), ..self }
    }

    /// Those at a place, and their step from tile to tile.
    #[inline(always)]
    fn at(self, place: usize) -> (*const f32, usize) {
        (self.values.wrapping_add(place * self.plane), self.step)
    }
}

/// Overwrites a vector, or adds to it.
///
/// # Safety
/// As [`Simd`]; `to` is a vector that no other thread touches.
#[inline(always)]
unsafe fn put<S: Simd>(to: *mut f32, value: S::V, fresh: bool) {
    // SAFETY: the caller's contract.
    unsafe { S::store(to, if fresh { value } else { S::add(S::load(to), value) }) }
}

/// Some columns of the weight gradient.
struct Weights<'a> {
    task: &'a TileGradient<'a>,
    column: usize,
    /// Whether they are to be overwritten.
    fresh: bool,
}

impl Weights<'_> {
    /// Adds what `count` tiles say of `rows`, at most `MR` input channels, and `NV` vectors of output channels, given
    /// from the first of them on; `block` takes the sums of products.
    ///
    /// # Safety
    /// As [`tile_gradient`].
    #[inline(always)]
    unsafe fn add<S: Simd, A: Algebra, const MR: usize, const NV: usize>(
        &self,
        x: Planes,
        g: Planes,
        count: usize,
        rows: Range<usize>,
        block: *mut f32,
    ) {
        let plane = MR * NV * S::LANES;
        // SAFETY: the caller's contract.
        unsafe {
            for place in 0..A::SIDE * A::SIDE {
                let sums = (block.add(place * plane), NV * S::LANES);
                outer::<S, MR, NV>(x.at(place), g.at(place), count, sums, rows.len(), true);
            }
            for (at, row) in rows.enumerate() {
                for vector in 0..NV {
                    let from = block.add((at * NV + vector) * S::LANES);
                    self.finish::<S, A>(from, plane, row, vector * S::LANES);
                }
            }
        }
    }

    /// Transforms the sums of one vector of weights at all places, Gᵀ u G, and adds them.
    ///
    /// # Safety
    /// As [`tile_gradient`].
    #[inline(always)]
    unsafe fn finish<S: Simd, A: Algebra>(&self, from: *const f32, plane: usize, row: usize, column: usize) {
        let TileGradient { geometry, taps, sums, .. } = *self.task;
        let width = geometry.vectors * S::LANES;
        let (phase, channel) = (row / geometry.channels, row % geometry.channels);
        // SAFETY: the caller's contract.
        unsafe {
            let mut half = [[S::splat(0.0); 3]; 6];
            let mut from = from;
            for half in half.iter_mut().take(A::SIDE) {
                let mut u = [S::splat(0.0); 6];
                for u in u.iter_mut().take(A::SIDE) {
                    *u = S::load(from);
                    from = from.wrapping_add(plane);
                }
                *half = A::weight_gradient::<S>(u);
            }
            let sums = sums.add(channel * width + self.column + column);
            for (i, half) in transposed(half).into_iter().enumerate().take(A::TAPS) {
                for (j, &value) in A::weight_gradient::<S>(half).iter().enumerate().take(A::TAPS) {
                    let tap = taps[(phase * A::TAPS + i) * A::TAPS + j];
                    put::<S>(sums.add(tap * geometry.channels * width), value, self.fresh);
                }
            }
        }
    }
}

/// A y Aᵀ for one vector of channels of one tile, and the sum of y.
///
/// # Safety
/// As [`tile_gradient`].
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
        let mut to = to;
        for column in transposed(half).into_iter().take(A::SIDE) {
            for &value in A::output_gradient::<S>(column).iter().take(A::SIDE) {
                S::store(to, value);
                to = to.wrapping_add(plane);
            }
        }
        sum
    }
}
