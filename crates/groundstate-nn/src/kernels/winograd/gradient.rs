//! The weight gradient by Winograd's filtering, transposed: Gᵀ[Σ over tiles of (Bᵀ d B) ⊙ (A ∂y Aᵀ)]G.
//!
//! For each run of tiles, gradients are transformed, then some channels of the inputs after others. Both lie in panels,
//! place by place, in the order in which their products are summed up for a block of weights. The sums, which are
//! still in the cache, are transformed into weights.

use std::ops::Range;

use super::algebra::{Algebra, STEP, Three, Two};
use super::{Winograd, for_outputs, prefetch_input, transform_input, transposed};
use crate::kernels::micro::prefetch;
use crate::kernels::weight_gradient::{Operand, outer};
use crate::simd::Simd;

/// Vectors of output channels of a block of weights.
const BLOCK: usize = 2;
/// Register blocks of input channels of a block of weights: at a place they meet the same gradients.
const ROWS: usize = 4;

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

/// Values between the panels of two places for so many values: one cache line more than they take, as for
/// [`Winograd::plane`].
const fn panel(values: usize) -> usize {
    values + 16
}

impl Winograd {
    /// Values that one more tile of a run takes, where register blocks have `rows` input channels.
    pub(crate) fn tile_values(&self, rows: usize, lanes: usize) -> usize {
        self.places() * (ROWS * rows + self.vectors.next_multiple_of(BLOCK) * lanes)
    }

    /// Values that a run of tiles and the sums of a block of weights take.
    pub(crate) fn gradient_scratch(&self, run: usize, rows: usize, lanes: usize) -> usize {
        let (rows, columns) = (ROWS * rows, BLOCK * lanes);
        let gradients = self.vectors.div_ceil(BLOCK) * panel(run * columns);
        self.places() * (panel(run * rows) + gradients + rows * columns)
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
    const { assert!((ROWS * MR).is_multiple_of(S::LANES)) }
    let (geometry, vectors, places) = (task.geometry, task.vectors.len(), A::SIDE * A::SIDE);
    let (depth, rows) = (geometry.depth(), ROWS * MR);
    let (x_plane, g_plane) = (panel(task.run * rows), panel(task.run * BLOCK * S::LANES));
    // SAFETY: the caller's contract.
    unsafe {
        let (x, g) = (task.scratch, task.scratch.add(places * x_plane));
        let block = g.add(vectors.div_ceil(BLOCK) * places * g_plane);
        // Where the gradients of a block of vectors from this one on are, and values of one tile.
        let gradients = |first: usize| {
            let width = BLOCK.min(vectors - first) * S::LANES;
            (g.add(first / BLOCK * places * g_plane), width)
        };
        for start in task.tiles.clone().step_by(task.run) {
            let count = task.run.min(task.tiles.end - start);
            let fresh = start == task.tiles.start;
            for tile in 0..count {
                for_outputs(geometry, start + tile + 1, |at| {
                    let next = task.g.wrapping_add(at + task.vectors.start * S::LANES);
                    prefetch::<S>(next, vectors * S::LANES);
                });
                let from = task.g.add(geometry.output(&geometry.place(start + tile)));
                for vector in 0..vectors {
                    let (to, width) = gradients(vector / BLOCK * BLOCK);
                    let to = to.add(tile * width + vector % BLOCK * S::LANES);
                    let channel = (task.vectors.start + vector) * S::LANES;
                    let sum = transform_gradient::<S, A>(geometry, from.add(channel), to, g_plane);
                    put::<S>(task.bias.add(channel), sum, fresh && tile == 0);
                }
            }
            for row in (0..depth).step_by(rows) {
                let rows = row..(row + rows).min(depth);
                for tile in 0..count {
                    prefetch_input::<S>(geometry, task.x, start + tile + 1, rows.clone());
                    let from = task.x.add(geometry.input(&geometry.place(start + tile)));
                    let to = x.add(tile * rows.len());
                    transform_input::<S, A>(geometry, from, rows.clone(), to, x_plane);
                }
                let x = Panels { values: x, step: rows.len(), plane: x_plane };
                for first in (0..vectors).step_by(BLOCK) {
                    let (g, step) = gradients(first);
                    let g = Panels { values: g, step, plane: g_plane };
                    let column = (task.vectors.start + first) * S::LANES;
                    let weights = Weights { task, rows: rows.clone(), column, fresh };
                    if vectors - first >= BLOCK {
                        weights.add::<S, A, MR, BLOCK>(x, g, count, block);
                    } else {
                        weights.add::<S, A, MR, 1>(x, g, count, block);
                    }
                }
            }
        }
    }
}

/// Transformed values of a run of tiles, some channels of them.
#[derive(Clone, Copy)]
struct Panels {
    values: *const f32,
    /// Values from tile to tile, and from place to place.
    step: usize,
    plane: usize,
}

impl Panels {
    /// Those at a place from a channel on, a tile a pixel.
    #[inline(always)]
    fn at(self, place: usize, channel: usize) -> Operand {
        Operand { values: self.values.wrapping_add(place * self.plane + channel), row: 0, col: self.step }
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

/// A block of the weight gradient.
struct Weights<'a> {
    task: &'a TileGradient<'a>,
    /// Input channels, at most [`ROWS`] register blocks of them, and the first output channel.
    rows: Range<usize>,
    column: usize,
    /// Whether it is to be overwritten.
    fresh: bool,
}

impl Weights<'_> {
    /// Adds what `count` tiles say of `NV` vectors of output channels; `block` takes the sums of products.
    ///
    /// # Safety
    /// As [`tile_gradient`]; both panels are of this block's channels.
    #[inline(always)]
    unsafe fn add<S: Simd, A: Algebra, const MR: usize, const NV: usize>(
        &self,
        x: Panels,
        g: Panels,
        count: usize,
        block: *mut f32,
    ) {
        let (rows, width) = (self.rows.len(), NV * S::LANES);
        // SAFETY: the caller's contract; what is read behind the last row of a panel is of the scratch, and not used.
        unsafe {
            for place in 0..A::SIDE * A::SIDE {
                for row in (0..rows).step_by(MR) {
                    let sums = (block.add((place * rows + row) * width), width);
                    let (size, valid) = ((1, count), MR.min(rows - row));
                    outer::<S, MR, NV>(x.at(place, row), g.at(place, 0), size, sums, valid, true);
                }
            }
            for (at, row) in self.rows.clone().enumerate() {
                for channel in (0..width).step_by(S::LANES) {
                    self.finish::<S, A>(block.add(at * width + channel), rows * width, row, channel);
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
