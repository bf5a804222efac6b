//! Which values a convolution reads and writes: geometries for the kernels, from layouts.

use super::super::layout::Layout;
use crate::kernels::Kernels;
use crate::kernels::direct::Direct;
use crate::kernels::winograd::Winograd;
use crate::layer::padding;

/// Values of Winograd scratch per thread: what fits a second-level cache with room for the weights.
const WINOGRAD_SCRATCH: usize = 220_000;

/// The forward convolution, directly.
pub(in super::super) fn direct_forward(
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
pub(super) fn direct_backward(
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
pub(in super::super) fn winograd_forward(
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
pub(super) fn winograd_backward(
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
