//! Direct convolution over padded NHWC buffers: forward, and each sub-pixel phase of an input gradient.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::epilogue::Epilogue;
use super::micro::micro;
use crate::simd::Simd;

/// Pixels whose offsets are worked out together; their inputs stay in the cache while all channel blocks
/// pass. A multiple of every block height in use.
const CHUNK: usize = 96;
/// Most values in one block of outputs.
const TILE: usize = 16 * 32;

/// Which inputs make which output. All offsets are in values from the start of one image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direct {
    /// Offset of the first value read for output pixel (0, 0), and steps per output row and column.
    pub(crate) input: usize,
    pub(crate) input_row: usize,
    pub(crate) input_col: usize,
    /// Offset of output pixel (0, 0), and steps per output row and column.
    pub(crate) output: usize,
    pub(crate) output_row: usize,
    pub(crate) output_col: usize,
    /// Output pixels.
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Consecutive values read per kernel row, kernel rows, and the step between them.
    pub(crate) run_len: usize,
    pub(crate) runs: usize,
    pub(crate) run_stride: usize,
    /// Output channels in vectors.
    pub(crate) vectors: usize,
}

impl Direct {
    /// Values read per output pixel.
    pub(crate) fn depth(&self) -> usize {
        self.runs * self.run_len
    }
}

/// Offsets of a chunk of pixels.
struct Pixels {
    input: [usize; CHUNK],
    output: [usize; CHUNK],
    count: usize,
}

/// Computes output rows `rows` of one image.
///
/// Weights are packed in blocks of two vectors of output channels, a last single one if their number is
/// odd; each block holds `depth` rows.
///
/// # Safety
/// As [`Simd`]; `x` is readable at every offset the geometry gives for these rows, `weights` as packed,
/// the epilogue's buffers at every output offset, and no other thread touches those outputs.
#[inline(always)]
pub(crate) unsafe fn convolve<S: Simd, const MR2: usize, const MR1: usize>(
    geometry: &Direct,
    x: *const f32,
    weights: *const f32,
    rows: Range<usize>,
    epilogue: &Epilogue,
) {
    let end = rows.end * geometry.cols;
    let mut first = rows.start * geometry.cols;
    while first < end {
        let count = CHUNK.min(end - first);
        let pixels = pixels(geometry, first, count);
        let mut vector = 0;
        while vector < geometry.vectors {
            let channel = vector * S::LANES;
            // SAFETY: the caller's contract; the block starts after `channel` columns of `depth` rows.
            unsafe {
                let weights = weights.add(channel * geometry.depth());
                if vector + 2 <= geometry.vectors {
                    block::<S, MR2, 2>(geometry, x, weights, &pixels, channel, epilogue);
                } else {
                    block::<S, MR1, 1>(geometry, x, weights, &pixels, channel, epilogue);
                }
            }
            vector += 2;
        }
        first += count;
    }
}

fn pixels(geometry: &Direct, first: usize, count: usize) -> Pixels {
    let mut pixels = Pixels { input: [0; CHUNK], output: [0; CHUNK], count };
    let (mut row, mut col) = (first / geometry.cols, first % geometry.cols);
    for i in 0..count {
        pixels.input[i] = geometry.input + row * geometry.input_row + col * geometry.input_col;
        pixels.output[i] = geometry.output + row * geometry.output_row + col * geometry.output_col;
        col += 1;
        if col == geometry.cols {
            (row, col) = (row + 1, 0);
        }
    }
    pixels
}

/// All pixels of a chunk for one block of `NV` vectors of channels. The last tile repeats its last pixel
/// to fill up, and stores it once.
///
/// # Safety
/// As [`convolve`].
#[inline(always)]
unsafe fn block<S: Simd, const MR: usize, const NV: usize>(
    geometry: &Direct,
    x: *const f32,
    weights: *const f32,
    pixels: &Pixels,
    channel: usize,
    epilogue: &Epilogue,
) {
    let mut first = 0;
    while first < pixels.count {
        let valid = MR.min(pixels.count - first);
        // SAFETY: the caller's contract.
        unsafe {
            let mut rows = [x; MR];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = x.add(pixels.input[first + i.min(valid - 1)]);
            }
            let sums =
                micro::<S, MR, NV, 0>(&rows, geometry.runs, geometry.run_stride, geometry.run_len, weights);
            let mut tile = Tile(MaybeUninit::uninit());
            let sums_at = tile.0.as_mut_ptr().cast::<f32>();
            for (i, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    S::store(sums_at.add((i * NV + v) * S::LANES), sum);
                }
            }
            for i in 0..valid {
                let sums = sums_at.add(i * NV * S::LANES);
                epilogue.finish::<S>(sums, NV, pixels.output[first + i] + channel, channel);
            }
        }
        first += MR;
    }
}

/// One block of outputs between registers and memory.
#[repr(align(64))]
struct Tile(MaybeUninit<[f32; TILE]>);
