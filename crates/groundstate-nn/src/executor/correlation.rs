//! The weight gradient of one convolution: how it is split into tasks, and its sums.

use super::forward::Given;
use super::layout::Layout;
use super::workers::Workers;
use crate::buffer::Buffer;
use crate::kernels::Kernels;
use crate::kernels::direct::Direct;
use crate::kernels::weight_gradient::{Correlation, PANEL};
use crate::layer::padding;

/// Tasks to aim at, so that many threads find work in small layers too. Part of the order of summation:
/// not to depend on the machine.
const TASKS: usize = 32;
/// Pixels of one packing task.
const PACK_PIXELS: usize = 2048;

/// Everything about one convolution's weight gradient that is known beforehand.
pub(super) struct CorrelationPlan {
    /// The forward convolution, directly.
    geometry: Direct,
    /// Values per image of its input and of its output.
    input_image: usize,
    output_image: usize,
    /// Ranges that the batch's output rows are cut into, each summed by itself.
    splits: usize,
    /// Output rows of one packing task.
    pack_rows: usize,
    /// Per split: the weight gradient, `kernel row, kernel column · padded input channels, padded output`.
    sums: Buffer,
    /// Padded output channels.
    width: usize,
    block: usize,
}

/// Buffers that all convolutions use in turn.
pub(super) struct Shared {
    /// The packed gradient.
    packed: Buffer,
    /// Bias gradients of each packing task.
    bias: Buffer,
}

impl Shared {
    /// Large enough for each of `plans`.
    pub(super) fn new<'a>(batch: usize, plans: impl Iterator<Item = &'a CorrelationPlan> + Clone) -> Shared {
        let pixels = |p: &CorrelationPlan| batch * p.geometry.rows * p.geometry.cols * p.width;
        let packed = plans.clone().map(pixels).max().unwrap_or(0);
        let bias = plans.map(|p| batch * p.pack_bands() * p.width).max().unwrap_or(0);
        Shared { packed: Buffer::zeros(packed), bias: Buffer::zeros(bias) }
    }

    pub(super) fn len(&self) -> usize {
        self.packed.len() + self.bias.len()
    }
}

impl CorrelationPlan {
    pub(super) fn new(
        kernels: &Kernels,
        batch: usize,
        kernel: usize,
        stride: usize,
        input: &Layout,
        output: &Layout,
    ) -> CorrelationPlan {
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
        let block = kernels.correlation_rows;
        let units = geometry.runs * geometry.run_len.div_ceil(block);
        let splits = TASKS.div_ceil(units).min(batch * geometry.rows);
        let width = geometry.vectors * kernels.lanes;
        CorrelationPlan {
            input_image: input.image,
            output_image: output.image,
            splits,
            pack_rows: (PACK_PIXELS / geometry.cols).clamp(1, geometry.rows),
            sums: Buffer::zeros(splits * geometry.depth() * width),
            width,
            block,
            geometry,
        }
    }

    fn pack_bands(&self) -> usize {
        self.geometry.rows.div_ceil(self.pack_rows)
    }

    /// Scratch values of one task.
    pub(super) fn scratch(&self, lanes: usize) -> usize {
        PANEL.max(self.geometry.cols) * lanes
    }

    /// Values allocated.
    pub(super) fn len(&self) -> usize {
        self.sums.len()
    }

    /// Sets the sums to the correlation of x with the gradient g; adds the bias gradient to `d_bias` if
    /// given.
    ///
    /// # Safety
    /// The operands hold `images` images in the layouts given to `new`, and nothing writes them meanwhile.
    pub(super) unsafe fn run(
        &mut self,
        kernels: &Kernels,
        workers: &Workers,
        shared: &mut Shared,
        operands: Operands,
        d_bias: Option<&mut [f32]>,
    ) {
        let Operands { images, x, g } = operands;
        let geometry = &self.geometry;
        let bands = self.pack_bands();
        let (width, pixels) = (self.width, geometry.rows * geometry.cols);
        let used = images * bands * width;
        shared.bias.as_mut_slice()[..used].fill(0.0);
        let (packed, bias) = (&shared.packed, &shared.bias);
        workers.run(images * bands, |task, _| {
            let (image, band) = (task / bands, task % bands);
            let first = band * self.pack_rows;
            for row in first..(first + self.pack_rows).min(geometry.rows) {
                // SAFETY: one row of one image, and its place in the packed gradient: tasks are disjoint,
                // and the buffers were sized in `Shared::new`.
                unsafe {
                    let from =
                        g.image(image, self.output_image).add(geometry.output + row * geometry.output_row);
                    let to = packed.ptr().add(image * pixels * width);
                    (kernels.pack_gradient)(geometry, from, to, row, bias.ptr().add(task * width));
                }
            }
        });
        if let Some(d_bias) = d_bias {
            for task in shared.bias.as_slice()[..used].chunks_exact(width) {
                d_bias.iter_mut().zip(task).for_each(|(d, t)| *d += t);
            }
        }
        self.sums.as_mut_slice().fill(0.0);
        let size = geometry.depth() * width;
        let blocks = geometry.run_len.div_ceil(self.block);
        let rows = images * geometry.rows;
        let share = rows.div_ceil(self.splits);
        workers.run(self.splits * geometry.runs * blocks, |task, panel| {
            let (split, unit) = (task / (geometry.runs * blocks), task % (geometry.runs * blocks));
            let (kernel_row, first) = (unit / blocks, unit % blocks * self.block);
            let count = self.block.min(geometry.run_len - first);
            let (from, to) = ((split * share).min(rows), ((split + 1) * share).min(rows));
            let row = kernel_row * geometry.run_len + first;
            // SAFETY: each task has its own rows of its own split; the panel is the task's own.
            unsafe {
                let sums = self.sums.ptr().add(split * size + row * width);
                let (x, packed) = (x.image(0, 0), packed.ptr().cast_const());
                let image = self.input_image;
                let task =
                    Correlation { geometry, x, image, packed, from, to, kernel_row, first, count, sums };
                (kernels.correlate)(&task, panel);
            }
        });
    }

    /// Adds the sums of the last `run`, split by split, to `d_weight` of shape `taps, depth, out`.
    pub(super) fn add_to(&self, d_weight: &mut [f32], depth: usize, out: usize) {
        let size = self.geometry.depth() * self.width;
        let taps = d_weight.len() / (depth * out);
        let padded = self.geometry.depth() / taps;
        for sums in self.sums.as_slice().chunks_exact(size) {
            for (row, target) in d_weight.chunks_exact_mut(out).enumerate() {
                let from = (row / depth * padded + row % depth) * self.width;
                target.iter_mut().zip(&sums[from..from + out]).for_each(|(t, s)| *t += s);
            }
        }
    }
}

/// What is correlated.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    pub(super) images: usize,
    /// The convolution's input, or the tangent of it, from image 0 on.
    pub(super) x: Given,
    /// The gradient of its sums, from image 0 on.
    pub(super) g: Given,
}
