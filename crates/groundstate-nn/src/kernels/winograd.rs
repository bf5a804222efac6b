//! 3×3 convolution of stride 1 by Winograd's F(4×4, 3×3): 36 products where the definition takes 144.
//!
//! y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A over 6×6 tiles of input that overlap by two (Lavin & Gray 2016, §4.3, with
//! points 0, ±1, ±2, ∞). The element-wise products, summed over channels, are 36 matrix products, one per
//! place in the tile. The relative error is about 2·10⁻⁶.

use super::epilogue::Epilogue;
use super::micro::micro;
use crate::simd::Simd;

/// Places in a tile.
pub(crate) const PLACES: usize = 36;
/// Output pixels along a tile's side.
pub(crate) const STEP: usize = 4;

/// Which inputs make which output. Offsets are in values; tiles are counted through the whole batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Winograd {
    /// Offset of pixel (−1, −1) of an image, values per image, per row and per pixel.
    pub(crate) input: usize,
    pub(crate) input_image: usize,
    pub(crate) input_row: usize,
    pub(crate) input_col: usize,
    /// Offset of output pixel (0, 0), values per image, per row and per pixel.
    pub(crate) output: usize,
    pub(crate) output_image: usize,
    pub(crate) output_row: usize,
    pub(crate) output_col: usize,
    /// Output pixels.
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Input channels, a multiple of the lanes.
    pub(crate) depth: usize,
    /// Output channels in vectors.
    pub(crate) vectors: usize,
    /// Tiles worked on together.
    pub(crate) block: usize,
}

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

    /// Values between the planes of two places for tiles of `channels`: one cache line more than the tiles
    /// need, so that the planes do not compete for the same cache sets.
    fn plane(&self, channels: usize) -> usize {
        self.block * channels + 16
    }

    /// Scratch for one block of tiles, in values: transformed inputs and products.
    pub(crate) fn scratch(&self, lanes: usize) -> usize {
        PLACES * (self.plane(self.depth) + self.plane(self.vectors * lanes))
    }

    fn place(&self, tile: usize) -> Place {
        let (tiles, across) = (self.tiles(), self.cols.div_ceil(STEP));
        let (image, tile) = (tile / tiles, tile % tiles);
        Place { image, row: tile / across * STEP, col: tile % across * STEP }
    }
}

/// Tiles `first .. first + count`, at most a block.
///
/// Weights are packed as `place, block of two vectors (a last single one if odd), depth, channel`.
///
/// # Safety
/// As [`Simd`]; `x` is readable over each tile's 6×6 pixels, which may reach beyond the image's padding,
/// the epilogue's buffers are writable at each output pixel, `scratch` holds [`Winograd::scratch`] values,
/// and no other thread touches these outputs or the scratch.
#[inline(always)]
pub(crate) unsafe fn tiles<S: Simd, const MR2: usize, const MR1: usize>(
    geometry: &Winograd,
    x: *const f32,
    weights: *const f32,
    first: usize,
    count: usize,
    scratch: *mut f32,
    epilogue: &Epilogue,
) {
    let (depth, width) = (geometry.depth, geometry.vectors * S::LANES);
    // SAFETY: the caller's contract.
    unsafe {
        let products = scratch.add(PLACES * geometry.plane(depth));
        for tile in 0..count {
            let Place { image, row, col } = geometry.place(first + tile);
            let from = x.add(image * geometry.input_image + geometry.input);
            let from = from.add(row * geometry.input_row + col * geometry.input_col);
            let to = scratch.add(tile * depth);
            transform_input::<S>(geometry, from, to, geometry.plane(depth));
        }
        for place in 0..PLACES {
            let x = scratch.add(place * geometry.plane(depth)).cast_const();
            let y = products.add(place * geometry.plane(width));
            let mut vector = 0;
            while vector < geometry.vectors {
                let channel = vector * S::LANES;
                let weights = weights.add((place * width + channel) * depth);
                if vector + 2 <= geometry.vectors {
                    product::<S, MR2, 2>(x, depth, weights, count, y.add(channel), width);
                } else {
                    product::<S, MR1, 1>(x, depth, weights, count, y.add(channel), width);
                }
                vector += 2;
            }
        }
        for tile in 0..count {
            let Place { image, row, col } = geometry.place(first + tile);
            let at = image * geometry.output_image + geometry.output;
            let at = at + row * geometry.output_row + col * geometry.output_col;
            let (rows, cols) = ((geometry.rows - row).min(STEP), (geometry.cols - col).min(STEP));
            for channel in (0..width).step_by(S::LANES) {
                let from = products.add(tile * width + channel);
                let y = transform_output::<S>(from, geometry.plane(width));
                for (i, y) in y.iter().enumerate().take(rows) {
                    for (j, &y) in y.iter().enumerate().take(cols) {
                        let mut sums = [0.0f32; 16];
                        S::store(sums.as_mut_ptr(), y);
                        let at = at + i * geometry.output_row + j * geometry.output_col + channel;
                        epilogue.finish::<S>(sums.as_ptr(), 1, at, channel);
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
        let valid = MR.min(count - first);
        // SAFETY: the caller's contract.
        unsafe {
            let mut rows = [x; MR];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = x.add((first + i.min(valid - 1)) * depth);
            }
            let sums = micro::<S, MR, NV>(&rows, 1, 0, depth, weights);
            for (i, sums) in sums.iter().enumerate().take(valid) {
                for (v, &sum) in sums.iter().enumerate() {
                    S::store(y.add((first + i) * width + v * S::LANES), sum);
                }
            }
        }
        first += MR;
    }
}

/// Bᵀ d B for every channel of one tile.
///
/// # Safety
/// As [`tiles`].
#[inline(always)]
unsafe fn transform_input<S: Simd>(geometry: &Winograd, from: *const f32, to: *mut f32, plane: usize) {
    for channel in (0..geometry.depth).step_by(S::LANES) {
        // SAFETY: the caller's contract.
        unsafe {
            let mut half = [[S::splat(0.0); 6]; 6];
            for (i, half) in half.iter_mut().enumerate() {
                let mut d = [S::splat(0.0); 6];
                for (j, d) in d.iter_mut().enumerate() {
                    *d = S::load(from.add(i * geometry.input_row + j * geometry.input_col + channel));
                }
                *half = b_transposed::<S>(d);
            }
            for (j, column) in transposed(half).into_iter().enumerate() {
                for (i, &value) in b_transposed::<S>(column).iter().enumerate() {
                    S::store(to.add((i * 6 + j) * plane + channel), value);
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
unsafe fn transform_output<S: Simd>(from: *const f32, plane: usize) -> [[S::V; 4]; 4] {
    // SAFETY: the caller's contract.
    unsafe {
        let mut half = [[S::splat(0.0); 4]; 6];
        for (j, half) in half.iter_mut().enumerate() {
            let mut m = [S::splat(0.0); 6];
            for (i, m) in m.iter_mut().enumerate() {
                *m = S::load(from.add((i * 6 + j) * plane));
            }
            *half = a_transposed::<S>(m);
        }
        transposed(half).map(|m| a_transposed::<S>(m))
    }
}

/// Rows for columns.
#[inline(always)]
fn transposed<V: Copy, const ROWS: usize, const COLUMNS: usize>(
    m: [[V; COLUMNS]; ROWS],
) -> [[V; ROWS]; COLUMNS] {
    std::array::from_fn(|j| std::array::from_fn(|i| m[i][j]))
}

/// Bᵀ d.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn b_transposed<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
    // SAFETY: the caller's contract.
    unsafe {
        let minus_4_d2 = S::mul_add(d[2], S::splat(-4.0), d[4]);
        let minus_4_d1 = S::mul_add(d[1], S::splat(-4.0), d[3]);
        let even = S::sub(d[4], d[2]);
        let odd = S::mul(S::splat(2.0), S::sub(d[3], d[1]));
        [
            S::mul_add(d[0], S::splat(4.0), S::mul_add(d[2], S::splat(-5.0), d[4])),
            S::add(minus_4_d2, minus_4_d1),
            S::sub(minus_4_d2, minus_4_d1),
            S::add(even, odd),
            S::sub(even, odd),
            S::mul_add(d[1], S::splat(4.0), S::mul_add(d[3], S::splat(-5.0), d[5])),
        ]
    }
}

/// Aᵀ m.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn a_transposed<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
    // SAFETY: the caller's contract.
    unsafe {
        let (s, d) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (p, q) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        [
            S::add(m[0], S::add(s, p)),
            S::mul_add(q, S::splat(2.0), d),
            S::mul_add(p, S::splat(4.0), s),
            S::add(S::mul_add(q, S::splat(8.0), d), m[5]),
        ]
    }
}

/// G g.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn g_times<S: Simd>(g: [S::V; 3]) -> [S::V; 6] {
    // SAFETY: the caller's contract.
    unsafe {
        let outer = S::mul(S::add(g[0], g[2]), S::splat(-1.0 / 6.0));
        let middle = S::mul(g[1], S::splat(-1.0 / 6.0));
        let wide = S::mul_add(g[0], S::splat(1.0 / 24.0), S::mul(g[2], S::splat(1.0 / 6.0)));
        let tall = S::mul(g[1], S::splat(1.0 / 12.0));
        [
            S::mul(g[0], S::splat(0.25)),
            S::add(outer, middle),
            S::sub(outer, middle),
            S::add(wide, tall),
            S::sub(wide, tall),
            g[2],
        ]
    }
}

/// Packs weights as [`tiles`] wants them: G g Gᵀ.
///
/// # Shapes
/// `weights`: `3, 3, depth_given, vectors · LANES`; rows of depth beyond `depth_given` stay as they are
/// (zero). With `flip`, the kernel is turned by half a turn, as an input gradient needs.
///
/// # Safety
/// As [`Simd`]; `weights` and `packed` have these sizes.
#[inline(always)]
pub(crate) unsafe fn transform_weights<S: Simd>(
    geometry: &Winograd,
    weights: *const f32,
    depth_given: usize,
    flip: bool,
    packed: *mut f32,
) {
    let width = geometry.vectors * S::LANES;
    for c in 0..depth_given {
        for vector in 0..geometry.vectors {
            let channel = vector * S::LANES;
            let (start, lanes) = (vector / 2 * 2, (geometry.vectors - vector / 2 * 2).min(2) * S::LANES);
            // SAFETY: the caller's contract.
            unsafe {
                let tap = |t: usize| {
                    let t = if flip { 8 - t } else { t };
                    S::load(weights.add((t * depth_given + c) * width + channel))
                };
                let mut half = [[S::splat(0.0); 6]; 3];
                for (j, half) in half.iter_mut().enumerate() {
                    *half = g_times::<S>([tap(j), tap(3 + j), tap(6 + j)]);
                }
                for (i, row) in transposed(half).into_iter().enumerate() {
                    for (j, &value) in g_times::<S>(row).iter().enumerate() {
                        let block = ((i * 6 + j) * width + start * S::LANES) * geometry.depth;
                        S::store(packed.add(block + c * lanes + (vector - start) * S::LANES), value);
                    }
                }
            }
        }
    }
}
