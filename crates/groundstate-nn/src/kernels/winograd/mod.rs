//! Convolution by Winograd's minimal filtering: fewer products than the definition takes.
//!
//! A 3×3 convolution of stride 1 takes 36 products instead of 144 for a tile of 4×4 outputs. A 4×4
//! convolution of stride 2 is a 2×2 convolution of stride 1 over the four sub-pixel phases of its input and
//! takes 25 instead of 64; so does each phase of its input gradient. Summed over channels, the products at
//! each place of the tile are a matrix product. The relative error is about 2·10⁻⁶.

mod algebra;
mod gradient;

pub(crate) use algebra::STEP;
pub(crate) use gradient::{TileGradient, tile_gradient};

use std::ops::Range;

use algebra::{Algebra, Three, Two};

use super::epilogue::{Epilogue, Row};
use super::micro::{LINE, micro};
use crate::simd::Simd;

/// Which inputs make which output. Offsets are in values; tiles are counted through the whole batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Winograd {
    /// Filter taps along a side: 3 or 2.
    pub(crate) taps: usize,
    /// Offsets of the first value read for output pixel (0, 0), one for each input phase, and their number.
    pub(crate) phases: [usize; 4],
    pub(crate) phase_count: usize,
    /// Values per image, and from pixel to pixel of one phase.
    pub(crate) input_image: usize,
    pub(crate) input_row: usize,
    pub(crate) input_col: usize,
    /// Channels of one phase, a multiple of the lanes.
    pub(crate) channels: usize,
    /// Offset of output pixel (0, 0), values per image, and from pixel to pixel.
    pub(crate) output: usize,
    pub(crate) output_image: usize,
    pub(crate) output_row: usize,
    pub(crate) output_col: usize,
    /// Output pixels.
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Output channels in vectors.
    pub(crate) vectors: usize,
    /// Tiles worked on together.
    pub(crate) block: usize,
}

/// Output channels whose products are kept until they are transformed, in a block of tiles.
const COLUMNS: usize = 32;
/// Weights of all places are more than a second-level cache holds, and are read once for each block of tiles: they are
/// asked for so many values before they are needed.
const AHEAD: usize = 1024;
/// Rows of the smaller block that the last tiles take if they do not fill one: as few as keep the sums apart that
/// the processor adds to at a time.
const FEW: usize = 4;

/// A tile's place.
struct Place {
    image: usize,
    row: usize,
    col: usize,
}

impl Winograd {
    /// Tiles in one image.
    pub(crate) fn tiles(&self) -> usize {
        self.rows.div_ceil(STEP) * self.cols.div_ceil(STEP)
    }

    /// Products per tile and pair of channels.
    pub(crate) fn places(&self) -> usize {
        (STEP + self.taps - 1) * (STEP + self.taps - 1)
    }

    /// Input channels of all phases.
    pub(crate) fn depth(&self) -> usize {
        self.phase_count * self.channels
    }

    /// Values between the planes of two places for tiles of `channels`: one cache line more than the tiles
    /// need, so that the planes do not compete for the same cache sets.
    fn plane(&self, channels: usize) -> usize {
        self.block * channels + 16
    }

    /// Scratch for one block of tiles, in values: transformed inputs, products for some output channels, and, where
    /// they are `plain`, the weights of these.
    pub(crate) fn scratch(&self, lanes: usize, plain: bool) -> usize {
        let columns = self.columns(plain, lanes) * lanes;
        let weights = if plain { self.weight_plane(columns) } else { 0 };
        self.places() * (self.plane(self.depth()) + self.plane(columns) + weights)
    }

    /// Output vectors that are worked on together: an even number unless all, and a pair where weights are `plain`.
    fn columns(&self, plain: bool, lanes: usize) -> usize {
        let columns = if plain { 2 } else { (COLUMNS / lanes).next_multiple_of(2) };
        columns.min(self.vectors)
    }

    /// Values of packed weights.
    pub(crate) fn weights(&self, lanes: usize) -> usize {
        self.places() * self.weight_plane(self.vectors * lanes)
    }

    /// Values between the weights of two places for so many output channels: one cache line more than they need, as
    /// above.
    fn weight_plane(&self, columns: usize) -> usize {
        self.depth() * columns + 16
    }

    fn place(&self, tile: usize) -> Place {
        let (tiles, across) = (self.tiles(), self.cols.div_ceil(STEP));
        let (image, tile) = (tile / tiles, tile % tiles);
        Place { image, row: tile / across * STEP, col: tile % across * STEP }
    }

    /// Offset of a channel of the input, counted through all phases.
    fn channel(&self, channel: usize) -> usize {
        self.phases[channel / self.channels] + channel % self.channels
    }

    /// Offset of a tile's first input, less the channel.
    fn input(&self, place: &Place) -> usize {
        place.image * self.input_image + place.row * self.input_row + place.col * self.input_col
    }

    /// Offset of a tile's first output.
    fn output(&self, place: &Place) -> usize {
        let corner = place.row * self.output_row + place.col * self.output_col;
        place.image * self.output_image + self.output + corner
    }
}

/// One block of tiles.
pub(crate) struct Tiles<'a> {
    pub(crate) geometry: &'a Winograd,
    /// The input, from image 0 on.
    pub(crate) x: *const f32,
    pub(crate) weights: Weights<'a>,
    /// Tiles `first .. first + count`, at most a block.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// Output vectors, from an even one on.
    pub(crate) vectors: Range<usize>,
    /// [`Winograd::scratch`] values.
    pub(crate) scratch: *mut f32,
}

/// Where a block of tiles has its weights from.
#[derive(Clone, Copy)]
pub(crate) enum Weights<'a> {
    /// Transformed: `place, block of two vectors (a last single one if odd), depth, channel`.
    Transformed(*const f32),
    /// As they are, `block of two vectors (a last single one if odd), tap, channel, output channel`, with
    /// the numbers of the taps of all phases: to be transformed block by block, for these tiles alone.
    Plain(*const f32, &'a [usize]),
}

/// Computes one block of tiles.
///
/// # Safety
/// As [`Simd`]; `x` is readable over each tile's inputs, which may reach beyond the image's padding, the
/// epilogue's buffers are writable at each output pixel, and no other thread touches these outputs or the
/// scratch.
#[inline(always)]
pub(crate) unsafe fn tiles<S: Simd, const MR2: usize, const MR1: usize>(
    task: &Tiles<'_>,
    epilogue: &Epilogue,
) {
    // SAFETY: the caller's contract.
    unsafe {
        match task.geometry.taps {
            3 => tiles_of::<S, Three, MR2, MR1>(task, epilogue),
            _ => tiles_of::<S, Two, MR2, MR1>(task, epilogue),
        }
    }
}

/// # Safety
/// As [`tiles`].
#[inline(always)]
unsafe fn tiles_of<S: Simd, A: Algebra, const MR2: usize, const MR1: usize>(
    task: &Tiles<'_>,
    epilogue: &Epilogue,
) {
    let Tiles { geometry, count, .. } = *task;
    let plain = matches!(task.weights, Weights::Plain(..));
    let (depth, columns) = (geometry.depth(), geometry.columns(plain, S::LANES));
    let (plane, product_plane) = (geometry.plane(depth), geometry.plane(columns * S::LANES));
    let places = A::SIDE * A::SIDE;
    // SAFETY: the caller's contract.
    unsafe {
        let products = task.scratch.add(places * plane);
        for tile in 0..count {
            if tile + 1 < count {
                prefetch_input::<S>(geometry, task.x, task.first + tile + 1, 0..depth);
            }
            let from = task.x.add(geometry.input(&geometry.place(task.first + tile)));
            transform_input::<S, A>(geometry, from, 0..depth, task.scratch.add(tile * depth), plane);
        }
        for first in task.vectors.clone().step_by(columns) {
            let vectors = columns.min(task.vectors.end - first);
            let width = vectors * S::LANES;
            let (weights, weight_plane) = match task.weights {
                Weights::Transformed(weights) => {
                    let plane = geometry.weight_plane(geometry.vectors * S::LANES);
                    (weights.add(first * S::LANES * depth), plane)
                }
                Weights::Plain(weights, taps) => {
                    let place = geometry.channels * width;
                    let weights = weights.add(first * S::LANES * taps.len() * geometry.channels);
                    let rows = WeightRows { weights, place, channels: 0..geometry.channels };
                    let transformed = products.add(places * product_plane);
                    transform_weights_of::<S, A>(geometry, vectors, &rows, taps, transformed);
                    (transformed.cast_const(), geometry.weight_plane(width))
                }
            };
            for place in 0..places {
                let x = task.scratch.add(place * plane).cast_const();
                let y = products.add(place * product_plane);
                for vector in (0..vectors).step_by(2) {
                    let weights = weights.add(place * weight_plane + vector * S::LANES * depth);
                    let y = y.add(vector * S::LANES);
                    if vector + 2 <= vectors {
                        product::<S, MR2, 2>(x, depth, weights, count, y, width);
                    } else {
                        product::<S, MR1, 1>(x, depth, weights, count, y, width);
                    }
                }
            }
            finish_tiles::<S, A>(task, epilogue, products, product_plane, first..first + vectors);
        }
    }
}

/// Transforms the products of some output vectors of all tiles of a block and finishes them.
///
/// # Safety
/// As [`tiles`]; `products` holds them, `plane` values from place to place.
#[inline(always)]
unsafe fn finish_tiles<S: Simd, A: Algebra>(
    task: &Tiles<'_>,
    epilogue: &Epilogue,
    products: *const f32,
    plane: usize,
    vectors: Range<usize>,
) {
    let Tiles { geometry, count, .. } = *task;
    let (first, width) = (vectors.start * S::LANES, vectors.len() * S::LANES);
    for tile in 0..count {
        // SAFETY: the caller's contract.
        unsafe {
            if tile + 1 < count {
                for_outputs(geometry, task.first + tile + 1, |at| epilogue.prefetch::<S>(at + first, width));
            }
            let place = geometry.place(task.first + tile);
            let at = geometry.output(&place) + first;
            let (rows, cols) = ((geometry.rows - place.row).min(STEP), (geometry.cols - place.col).min(STEP));
            for channel in (0..width).step_by(S::LANES) {
                let y = transform_output::<S, A>(products.add(tile * width + channel), plane);
                for (i, y) in y.into_iter().enumerate().take(rows) {
                    let at = at + i * geometry.output_row + channel;
                    let row = Row { at, step: geometry.output_col, channel: first + channel };
                    if cols == STEP {
                        epilogue.finish_row::<S, STEP>(y, row);
                        continue;
                    }
                    for (j, y) in y.into_iter().enumerate().take(cols) {
                        epilogue.finish_row::<S, 1>([y], Row { at: at + j * row.step, ..row });
                    }
                }
            }
        }
    }
}

/// `count` rows of `x` times one block of weights.
///
/// # Safety
/// As [`tiles`].
#[inline(always)]
unsafe fn product<S: Simd, const MR: usize, const NV: usize>(
    x: *const f32,
    depth: usize,
    weights: *const f32,
    count: usize,
    y: *mut f32,
    width: usize,
) {
    let mut first = 0;
    while first < count {
        let left = count - first;
        // SAFETY: the caller's contract.
        first += unsafe {
            let (x, y) = (x.add(first * depth), y.add(first * width));
            if MR > FEW && left <= FEW {
                product_rows::<S, FEW, NV>(x, depth, weights, left, y, width)
            } else {
                product_rows::<S, MR, NV>(x, depth, weights, left.min(MR), y, width)
            }
        };
    }
}

/// At most `MR` rows of `x` times one block of weights; returns how many.
///
/// # Safety
/// As [`tiles`].
#[inline(always)]
unsafe fn product_rows<S: Simd, const MR: usize, const NV: usize>(
    x: *const f32,
    depth: usize,
    weights: *const f32,
    valid: usize,
    y: *mut f32,
    width: usize,
) -> usize {
    // SAFETY: the caller's contract.
    unsafe {
        let mut rows = [x; MR];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = x.add(i.min(valid - 1) * depth);
        }
        let sums = micro::<S, MR, NV, AHEAD>(&rows, 1, 0, depth, weights);
        for (i, sums) in sums.iter().enumerate().take(valid) {
            for (v, &sum) in sums.iter().enumerate() {
                S::store(y.add(i * width + v * S::LANES), sum);
            }
        }
    }
    valid
}

/// Asks for some channels of a tile's inputs that the tile before it does not have.
///
/// # Safety
/// As [`Simd`]; there may be no such tile.
#[inline(always)]
unsafe fn prefetch_input<S: Simd>(geometry: &Winograd, x: *const f32, tile: usize, channels: Range<usize>) {
    let (from, overlap) = (geometry.input(&geometry.place(tile)), geometry.taps - 1);
    for row in 0..STEP + overlap {
        for col in overlap..STEP + overlap {
            let from = x.wrapping_add(from + row * geometry.input_row + col * geometry.input_col);
            for channel in channels.clone().step_by(LINE.min(geometry.channels)) {
                // SAFETY: the caller's contract; a hint touches nothing.
                unsafe { S::prefetch(from.wrapping_add(geometry.channel(channel))) }
            }
        }
    }
}

/// Hands over the offsets of a tile's outputs, also of those beyond the image; there may be no such tile.
#[inline(always)]
fn for_outputs(geometry: &Winograd, tile: usize, mut hand_over: impl FnMut(usize)) {
    let from = geometry.output(&geometry.place(tile));
    for row in 0..STEP {
        for col in 0..STEP {
            hand_over(from + row * geometry.output_row + col * geometry.output_col);
        }
    }
}

/// Bᵀ d B for some channels, counted through all phases, of one tile, which begins at `from`.
///
/// # Safety
/// As [`tiles`]; `to` is writable for these channels at each place.
#[inline(always)]
unsafe fn transform_input<S: Simd, A: Algebra>(
    geometry: &Winograd,
    from: *const f32,
    channels: Range<usize>,
    to: *mut f32,
    plane: usize,
) {
    for channel in channels.clone().step_by(S::LANES) {
        // SAFETY: the caller's contract.
        unsafe {
            let from = from.add(geometry.channel(channel));
            let mut to = to.add(channel - channels.start);
            let mut half = [[S::splat(0.0); 6]; 6];
            for (i, half) in half.iter_mut().enumerate().take(A::SIDE) {
                let mut from = from.add(i * geometry.input_row);
                let mut d = [S::splat(0.0); 6];
                for d in d.iter_mut().take(A::SIDE) {
                    *d = S::load(from);
                    from = from.wrapping_add(geometry.input_col);
                }
                *half = A::input::<S>(d);
            }
            for column in transposed(half).into_iter().take(A::SIDE) {
                for &value in A::input::<S>(column).iter().take(A::SIDE) {
                    S::store(to, value);
                    to = to.wrapping_add(plane);
                }
            }
        }
    }
}

/// Aᵀ m A for one vector of channels of one tile.
///
/// # Safety
/// As [`tiles`].
#[inline(always)]
unsafe fn transform_output<S: Simd, A: Algebra>(from: *const f32, plane: usize) -> [[S::V; 4]; 4] {
    // SAFETY: the caller's contract.
    unsafe {
        let mut from = from;
        let mut half = [[S::splat(0.0); 4]; 6];
        for half in half.iter_mut().take(A::SIDE) {
            let mut m = [S::splat(0.0); 6];
            for m in m.iter_mut().take(A::SIDE) {
                *m = S::load(from);
                from = from.wrapping_add(plane);
            }
            *half = A::output::<S>(m);
        }
        let mut y = [[S::splat(0.0); STEP]; STEP];
        for (y, column) in y.iter_mut().zip(transposed(half)) {
            *y = A::output::<S>(column);
        }
        y
    }
}

/// Rows for columns.
#[inline(always)]
fn transposed<V: Copy, const ROWS: usize, const COLUMNS: usize>(
    m: [[V; COLUMNS]; ROWS],
) -> [[V; ROWS]; COLUMNS] {
    let mut columns = [[m[0][0]; ROWS]; COLUMNS];
    for (i, row) in m.iter().enumerate() {
        for (j, &value) in row.iter().enumerate() {
            columns[j][i] = value;
        }
    }
    columns
}

/// Some rows of weights, to be packed.
pub(crate) struct WeightRows {
    /// The first row of kernel place 0; rows are `vectors · LANES` long.
    pub(crate) weights: *const f32,
    /// Values from kernel place to kernel place.
    pub(crate) place: usize,
    /// The input channels that the rows are of.
    pub(crate) channels: Range<usize>,
}

/// Packs weights as [`Tiles`] wants them: G g Gᵀ.
///
/// # Shapes
/// `taps`: for each phase, the kernel places of the filter's taps. Packed rows of other channels stay as they
/// are (those of padding zero).
///
/// # Safety
/// As [`Simd`]; the rows and `packed` have these sizes, and no other thread touches the packed rows.
#[inline(always)]
pub(crate) unsafe fn transform_weights<S: Simd>(
    geometry: &Winograd,
    rows: &WeightRows,
    taps: &[usize],
    packed: *mut f32,
) {
    // SAFETY: the caller's contract.
    unsafe {
        match geometry.taps {
            3 => transform_weights_of::<S, Three>(geometry, geometry.vectors, rows, taps, packed),
            _ => transform_weights_of::<S, Two>(geometry, geometry.vectors, rows, taps, packed),
        }
    }
}

/// The same for `vectors` of the output, which the rows are as long as.
///
/// # Safety
/// As [`transform_weights`].
#[inline(always)]
unsafe fn transform_weights_of<S: Simd, A: Algebra>(
    geometry: &Winograd,
    vectors: usize,
    rows: &WeightRows,
    taps: &[usize],
    packed: *mut f32,
) {
    let (depth, width) = (geometry.depth(), vectors * S::LANES);
    let plane = geometry.weight_plane(width);
    for (phase, taps) in taps.chunks_exact(A::TAPS * A::TAPS).enumerate() {
        // Block by block, so that each place is written in order.
        let blocks = (0..vectors).step_by(2).map(|first| (first, 2.min(vectors - first)));
        let places = blocks.flat_map(|block| rows.channels.clone().map(move |c| (block, c)));
        for (first, count, c, vector) in
            places.flat_map(|((first, count), c)| (first..first + count).map(move |v| (first, count, c, v)))
        {
            let columns = count * S::LANES;
            // SAFETY: the caller's contract.
            unsafe {
                let from = rows.weights.add((c - rows.channels.start) * width + vector * S::LANES);
                let mut half = [[S::splat(0.0); 6]; 3];
                for (i, half) in half.iter_mut().enumerate().take(A::TAPS) {
                    let mut g = [S::splat(0.0); 3];
                    for (j, g) in g.iter_mut().enumerate().take(A::TAPS) {
                        *g = S::load(from.add(taps[i * A::TAPS + j] * rows.place));
                    }
                    *half = A::weight::<S>(g);
                }
                let to = packed.add(first * S::LANES * depth + (phase * geometry.channels + c) * columns);
                let mut to = to.add((vector - first) * S::LANES);
                for column in transposed(half).into_iter().take(A::SIDE) {
                    for &value in A::weight::<S>(column).iter().take(A::SIDE) {
                        S::store(to, value);
                        to = to.wrapping_add(plane);
                    }
                }
            }
        }
    }
}
