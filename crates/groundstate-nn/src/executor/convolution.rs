//! One convolution in the plan: how its sums and its input gradient are computed, and its packed weights.

use super::layout::Layout;
use crate::buffer::Buffer;
use crate::kernels::Kernels;
use crate::kernels::direct::Direct;
use crate::kernels::winograd::{PLACES, STEP, Winograd};
use crate::layer::padding;

/// Multiply-adds of one task: about 20 µs, small enough to share out, large enough not to notice.
const TASK_COST: usize = 1 << 20;
/// Fewest channels on both sides for which Winograd's transforms pay.
const WINOGRAD_CHANNELS: usize = 16;
/// Values of Winograd scratch per thread: what fits a second-level cache with room for the weights.
const WINOGRAD_SCRATCH: usize = 220_000;

/// A convolution from one padded buffer to another, in one direction.
pub(super) struct Pass {
    pub(super) method: Method,
    /// Packed weights, all parts one after another.
    pub(super) weights: Buffer,
}

/// How.
pub(super) enum Method {
    /// Directly; an input gradient of stride 2 has one part per sub-pixel phase.
    Direct(Vec<Part>),
    /// 3×3 stride 1 with enough channels.
    Winograd(Winograd),
}

/// One direct part.
pub(super) struct Part {
    pub(super) geometry: Direct,
    /// Kernel places read, in the order of the packed weights.
    pub(super) taps: Vec<usize>,
    /// Where its packed weights start.
    pub(super) offset: usize,
    /// Output rows of one task.
    pub(super) band: usize,
}

impl Part {
    pub(super) fn bands(&self) -> usize {
        self.geometry.rows.div_ceil(self.band)
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
        if winograd_pays(kernels, kernel, stride, input, output) {
            return Self::winograd(kernels, input, output);
        }
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
        Self::direct(kernels, vec![(geometry, (0..kernel * kernel).collect())])
    }

    /// The gradient with respect to the input, from `output` (the gradient of the sums) to `input`.
    pub(super) fn backward(
        kernels: &Kernels,
        kernel: usize,
        stride: usize,
        output: &Layout,
        input: &Layout,
    ) -> Pass {
        if winograd_pays(kernels, kernel, stride, output, input) {
            return Self::winograd(kernels, output, input);
        }
        let mut parts = Vec::new();
        for (a, b) in (0..stride).flat_map(|a| (0..stride).map(move |b| (a, b))) {
            if a >= input.height || b >= input.width {
                continue;
            }
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
            let taps = down.iter().flat_map(|y| across.iter().map(move |x| y.0 * kernel + x.0));
            parts.push((geometry, taps.collect()));
        }
        Self::direct(kernels, parts)
    }

    fn direct(kernels: &Kernels, parts: Vec<(Direct, Vec<usize>)>) -> Pass {
        let mut offset = 0;
        let mut method = Vec::new();
        for (geometry, taps) in parts {
            let width = geometry.vectors * kernels.lanes;
            let row_cost = geometry.cols * geometry.depth() * width;
            let band = (TASK_COST / row_cost).clamp(1, geometry.rows);
            method.push(Part { geometry, taps, offset, band });
            offset += geometry.depth() * width;
        }
        Pass { method: Method::Direct(method), weights: Buffer::zeros(offset) }
    }

    fn winograd(kernels: &Kernels, input: &Layout, output: &Layout) -> Pass {
        let block = WINOGRAD_SCRATCH / (PLACES * (input.stride + output.stride));
        let geometry = Winograd {
            input: input.at(-1, -1),
            input_image: input.image,
            input_row: input.row,
            input_col: input.stride,
            output: output.at(0, 0),
            output_image: output.image,
            output_row: output.row,
            output_col: output.stride,
            rows: output.height,
            cols: output.width,
            depth: input.stride,
            vectors: output.stride / kernels.lanes,
            block: (block / 12 * 12).clamp(12, 96),
        };
        let weights = Buffer::zeros(PLACES * input.stride * output.stride);
        Pass { method: Method::Winograd(geometry), weights }
    }

    /// Scratch values that one task needs.
    pub(super) fn scratch(&self, lanes: usize) -> usize {
        match &self.method {
            Method::Direct(_) => 0,
            Method::Winograd(geometry) => geometry.scratch(lanes),
        }
    }

    /// Packs weights for this pass.
    ///
    /// # Shapes
    /// `weights`: `kernel · kernel, depth, width`, with `depth` the true channels of the pass's input and
    /// `width` the padded channels of its output; `flip` for a gradient.
    pub(super) fn pack(&mut self, kernels: &Kernels, weights: &[f32], depth: usize, flip: bool) {
        match &self.method {
            Method::Winograd(geometry) => {
                assert_eq!(weights.len(), 9 * depth * geometry.vectors * kernels.lanes);
                // SAFETY: sizes as stated, the packed buffer as allocated in `winograd`.
                unsafe {
                    (kernels.winograd_weights)(geometry, weights.as_ptr(), depth, flip, self.weights.ptr());
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

/// Copies rows of weights into blocks of two vectors (a last single one if odd). Rows for padding channels
/// of the input stay zero.
fn pack_part(part: &Part, lanes: usize, weights: &[f32], depth: usize, packed: &mut [f32]) {
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

fn winograd_pays(kernels: &Kernels, kernel: usize, stride: usize, input: &Layout, output: &Layout) -> bool {
    let pixels = |l: &Layout| l.height * l.width;
    let padded = output.height.next_multiple_of(STEP) * output.width.next_multiple_of(STEP);
    (kernel, stride) == (3, 1)
        && input.stride.is_multiple_of(kernels.lanes)
        && input.channels.min(output.channels) >= WINOGRAD_CHANNELS
        && 2 * pixels(output) >= padded
}
