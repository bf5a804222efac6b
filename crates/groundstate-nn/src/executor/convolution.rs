//! One convolution in the plan: how its sums and its input gradient are computed, and its packed weights.

use super::layout::Layout;
use crate::buffer::Buffer;
use crate::kernels::Kernels;
use crate::kernels::direct::Direct;
use crate::kernels::winograd::{STEP, Winograd};
use crate::layer::padding;

/// Multiply-adds of one task: about 20 µs, small enough to share out, large enough not to notice.
const TASK_COST: usize = 1 << 20;
/// What transforming one vector of a tile costs, forth or back, in multiply-adds of a vector; measured.
const TRANSFORM_COST: usize = 600;
/// Values of Winograd scratch per thread: what fits a second-level cache with room for the weights.
const WINOGRAD_SCRATCH: usize = 220_000;

/// A convolution from one padded buffer to another, in one direction.
pub(super) struct Pass {
    pub(super) method: Method,
    /// Packed weights, all parts one after another.
    pub(super) weights: Buffer,
}

/// How, in parts: one, or one for each sub-pixel phase of an input gradient of stride 2.
pub(super) enum Method {
    Direct(Vec<Part<Direct>>),
    /// 3×3 stride 1 or 4×4 stride 2 with enough channels. All parts have as many tiles.
    Winograd(Vec<Part<Winograd>>),
}

/// One part.
pub(super) struct Part<G> {
    pub(super) geometry: G,
    /// Kernel places read, in the order of the packed weights.
    pub(super) taps: Vec<usize>,
    /// Where its packed weights start.
    pub(super) offset: usize,
}

impl Part<Direct> {
    /// Output rows of one task.
    pub(super) fn band(&self, lanes: usize) -> usize {
        let row_cost = self.geometry.cols * self.geometry.depth() * self.geometry.vectors * lanes;
        (TASK_COST / row_cost).clamp(1, self.geometry.rows)
    }
}

impl Pass {
    /// The forward direction.
    pub(super) fn forward(
        kernels: &Kernels,
        kernel: usize,
        stride: usize,
        input: &Layout,
        output: &Layout,
    ) -> Pass {
        if winograd_pays_forward(kernels.lanes, kernel, stride, input, output) {
            return Self::winograd(kernels, vec![winograd_forward(kernels, kernel, input, output)]);
        }
        Self::direct(kernels, vec![direct_forward(kernels, kernel, stride, input, output)])
    }

    /// The gradient with respect to the input, from `output` (the gradient of the sums) to `input`.
    pub(super) fn backward(
        kernels: &Kernels,
        kernel: usize,
        stride: usize,
        output: &Layout,
        input: &Layout,
    ) -> Pass {
        if winograd_pays_backward(kernels.lanes, kernel, stride, output, input) {
            return Self::winograd(kernels, winograd_backward(kernels, kernel, output, input));
        }
        let phases = (0..stride).flat_map(|a| (0..stride).map(move |b| (a, b)));
        let present = phases.filter(|&(a, b)| a < input.height && b < input.width);
        let part = |phase| direct_backward(kernels, (kernel, stride), phase, output, input);
        Self::direct(kernels, present.map(part).collect())
    }

    fn direct(kernels: &Kernels, parts: Vec<(Direct, Vec<usize>)>) -> Pass {
        let (parts, total) = place(parts, |g| g.depth() * g.vectors * kernels.lanes);
        Pass { method: Method::Direct(parts), weights: Buffer::zeros(total) }
    }

    fn winograd(kernels: &Kernels, parts: Vec<(Winograd, Vec<usize>)>) -> Pass {
        let (parts, total) = place(parts, |g| g.weights(kernels.lanes));
        Pass { method: Method::Winograd(parts), weights: Buffer::zeros(total) }
    }

    /// Scratch values that one task needs.
    pub(super) fn scratch(&self, lanes: usize) -> usize {
        match &self.method {
            Method::Direct(_) => 0,
            Method::Winograd(parts) => parts.iter().map(|p| p.geometry.scratch(lanes)).max().unwrap_or(0),
        }
    }

    /// Packs weights for this pass.
    ///
    /// # Shapes
    /// `weights`: `kernel · kernel, depth, width`, with `depth` the true channels of the pass's input and
    /// `width` the padded channels of its output.
    pub(super) fn pack(&mut self, kernels: &Kernels, weights: &[f32], depth: usize) {
        match &self.method {
            Method::Winograd(parts) => {
                for Part { geometry, taps, offset } in parts {
                    let places = taps.iter().max().map_or(0, |t| t + 1);
                    assert!(weights.len() >= places * depth * geometry.vectors * kernels.lanes);
                    // SAFETY: every tap is within the weights, and the packed buffer was sized for the parts.
                    unsafe {
                        let packed = self.weights.ptr().add(*offset);
                        (kernels.winograd_weights)(geometry, weights.as_ptr(), depth, taps, packed);
                    }
                }
            }
            Method::Direct(parts) => {
                let packed = self.weights.as_mut_slice();
                for part in parts {
                    pack_part(part, kernels.lanes, weights, depth, &mut packed[part.offset..]);
                }
            }
        }
    }
}

/// Lays parts' weights one after another; also returns their total length.
fn place<G>(parts: Vec<(G, Vec<usize>)>, len: impl Fn(&G) -> usize) -> (Vec<Part<G>>, usize) {
    let mut total = 0;
    let part = |(geometry, taps)| {
        let offset = total;
        total += len(&geometry);
        Part { geometry, taps, offset }
    };
    let parts = parts.into_iter().map(part).collect();
    (parts, total)
}

/// The forward convolution, directly.
pub(super) fn direct_forward(
    kernels: &Kernels,
    kernel: usize,
    stride: usize,
    input: &Layout,
    output: &Layout,
) -> (Direct, Vec<usize>) {
    let pad = padding(kernel) as isize;
    let geometry = Direct {
        input: input.at(-pad, -pad),
        input_row: stride * input.row,
        input_col: stride * input.stride,
        output: output.at(0, 0),
        output_row: output.row,
        output_col: output.stride,
        rows: output.height,
        cols: output.width,
        run_len: kernel * input.stride,
        runs: kernel,
        run_stride: input.row,
        vectors: output.stride / kernels.lanes,
    };
    (geometry, (0..kernel * kernel).collect())
}

/// One sub-pixel phase of an input gradient, directly.
fn direct_backward(
    kernels: &Kernels,
    (kernel, stride): (usize, usize),
    (a, b): (usize, usize),
    output: &Layout,
    input: &Layout,
) -> (Direct, Vec<usize>) {
    let (down, across) = (phase(kernel, stride, a), phase(kernel, stride, b));
    let geometry = Direct {
        input: output.at(down[0].1, across[0].1),
        input_row: output.row,
        input_col: output.stride,
        output: input.at(a as isize, b as isize),
        output_row: stride * input.row,
        output_col: stride * input.stride,
        rows: (input.height - a).div_ceil(stride),
        cols: (input.width - b).div_ceil(stride),
        run_len: across.len() * output.stride,
        runs: down.len(),
        run_stride: output.row,
        vectors: input.stride / kernels.lanes,
    };
    (geometry, down.iter().flat_map(|y| across.iter().map(move |x| y.0 * kernel + x.0)).collect())
}

/// The forward convolution by Winograd: 3×3 stride 1, or 4×4 stride 2 as 2×2 over four input phases, phase
/// (p, q) being the input's pixels (2j − 1 + p, 2i − 1 + q).
pub(super) fn winograd_forward(
    kernels: &Kernels,
    kernel: usize,
    input: &Layout,
    output: &Layout,
) -> (Winograd, Vec<usize>) {
    let geometry = winograd(kernels, input, output);
    if kernel == 3 {
        return (geometry, (0..9).collect());
    }
    let mut geometry = Winograd { taps: 2, phase_count: 4, ..geometry };
    geometry.input_row = 2 * input.row;
    geometry.input_col = 2 * input.stride;
    let mut taps = Vec::new();
    for (p, q) in PHASES {
        geometry.phases[2 * p + q] = input.at(p as isize - 1, q as isize - 1);
        taps.extend(PHASES.map(|(a, b)| (2 * a + p) * 4 + 2 * b + q));
    }
    (sized(geometry, kernels), taps)
}

/// The input gradient by Winograd: 3×3 with the kernel turned by half a turn, or a 2×2 convolution for each
/// of the four phases of the input.
fn winograd_backward(
    kernels: &Kernels,
    kernel: usize,
    output: &Layout,
    input: &Layout,
) -> Vec<(Winograd, Vec<usize>)> {
    let geometry = winograd(kernels, output, input);
    if kernel == 3 {
        return vec![(geometry, (0..9).rev().collect())];
    }
    // Input row 2j − 1 + p gets kernel row 2a + p from output row j − a. Counted from 0, rows of phase 0 are
    // 2i + 1 and read output rows i and i + 1; rows of phase 1 are 2i and read i − 1 and i.
    let part = |(p, q): (usize, usize)| {
        let mut part = Winograd { taps: 2, ..geometry };
        part.phases[0] = output.at(-(p as isize), -(q as isize));
        part.output = input.at(1 - p as isize, 1 - q as isize);
        part.output_row = 2 * input.row;
        part.output_col = 2 * input.stride;
        part.rows = input.height / 2;
        part.cols = input.width / 2;
        (sized(part, kernels), PHASES.map(|(y, x)| (2 * (1 - y) + p) * 4 + 2 * (1 - x) + q).to_vec())
    };
    PHASES.map(part).to_vec()
}

/// The four sub-pixel phases, and the four taps of a 2×2 filter.
const PHASES: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// A 3×3 convolution of stride 1 between two buffers.
fn winograd(kernels: &Kernels, input: &Layout, output: &Layout) -> Winograd {
    let geometry = Winograd {
        taps: 3,
        phases: [input.at(-1, -1), 0, 0, 0],
        phase_count: 1,
        input_image: input.image,
        input_row: input.row,
        input_col: input.stride,
        channels: input.stride,
        output: output.at(0, 0),
        output_image: output.image,
        output_row: output.row,
        output_col: output.stride,
        rows: output.height,
        cols: output.width,
        vectors: output.stride / kernels.lanes,
        block: 0,
    };
    sized(geometry, kernels)
}

/// Chooses the tiles of a block.
fn sized(geometry: Winograd, kernels: &Kernels) -> Winograd {
    let width = geometry.vectors * kernels.lanes;
    let block = WINOGRAD_SCRATCH / (geometry.places() * (geometry.depth() + width));
    Winograd { block: (block / 12 * 12).clamp(24, 96), ..geometry }
}

/// Copies rows of weights into blocks of two vectors (a last single one if odd). Rows for padding channels
/// of the input stay zero.
fn pack_part(part: &Part<Direct>, lanes: usize, weights: &[f32], depth: usize, packed: &mut [f32]) {
    let width = part.geometry.vectors * lanes;
    let rows = part.geometry.depth();
    let padded = rows / part.taps.len();
    for first in (0..width).step_by(2 * lanes) {
        let columns = (width - first).min(2 * lanes);
        let block = &mut packed[first * rows..][..columns * rows];
        for (place, &tap) in part.taps.iter().enumerate() {
            for c in 0..depth {
                let from = (tap * depth + c) * width + first;
                let to = (place * padded + c) * columns;
                block[to..to + columns].copy_from_slice(&weights[from..from + columns]);
            }
        }
    }
}

/// For input rows (or columns) of remainder `a`: kernel rows that reach them, with the output row of the
/// first, ascending. With row a + stride · i, kernel row k meets output row i + (a + pad − k)/stride.
fn phase(kernel: usize, stride: usize, a: usize) -> Vec<(usize, isize)> {
    let reach = |k: usize| (a + padding(kernel)) as isize - k as isize;
    let met = |k: &usize| reach(*k).rem_euclid(stride as isize) == 0;
    let mut taps: Vec<_> =
        (0..kernel).filter(met).map(|k| (k, reach(k).div_euclid(stride as isize))).collect();
    taps.sort_by_key(|t| t.1);
    taps
}

/// Whether Winograd takes clearly less time than the definition for `rows`×`cols` outputs. `taps` is the side
/// of the filter, `channels` and `width` are the padded channels that it reads and writes.
fn winograd_pays(
    lanes: usize,
    taps: usize,
    channels: usize,
    width: usize,
    (rows, cols): (usize, usize),
) -> bool {
    let tiles = rows.div_ceil(STEP) * cols.div_ceil(STEP);
    let places = (STEP + taps - 1) * (STEP + taps - 1);
    let vectors = width / lanes;
    let direct = rows * cols * taps * taps * channels * vectors;
    let transforms = TRANSFORM_COST * (channels.div_ceil(lanes) + vectors);
    channels.is_multiple_of(lanes) && 5 * direct > 6 * tiles * (places * channels * vectors + transforms)
}

/// [`winograd_pays`] for a forward convolution, and for its weight gradient, which has the same products.
pub(super) fn winograd_pays_forward(
    lanes: usize,
    kernel: usize,
    stride: usize,
    input: &Layout,
    output: &Layout,
) -> bool {
    let size = (output.height, output.width);
    match (kernel, stride) {
        (3, 1) => winograd_pays(lanes, 3, input.stride, output.stride, size),
        (4, 2) => {
            input.stride.is_multiple_of(lanes)
                && winograd_pays(lanes, 2, 4 * input.stride, output.stride, size)
        }
        _ => false,
    }
}

/// [`winograd_pays`] for an input gradient. Odd sizes at stride 2 have phases of different sizes.
fn winograd_pays_backward(
    lanes: usize,
    kernel: usize,
    stride: usize,
    output: &Layout,
    input: &Layout,
) -> bool {
    let (h, w) = (input.height, input.width);
    match (kernel, stride) {
        (3, 1) => winograd_pays(lanes, 3, output.stride, input.stride, (h, w)),
        (4, 2) if h % 2 == 0 && w % 2 == 0 => {
            winograd_pays(lanes, 2, output.stride, input.stride, (h / 2, w / 2))
        }
        _ => false,
    }
}
