//! Weight gradients by the definition.

use super::super::convolution::direct_forward;
use super::super::layout::Layout;
use super::super::workers::Workers;
use super::{Need, Operands, Shared, Target};
use crate::kernels::Kernels;
use crate::kernels::direct::Direct;
use crate::kernels::weight_gradient::Correlation;

/// Tasks to aim at, so that many threads find work in small layers too. Part of the order of summation, as all sizes
/// here: not to depend on the machine.
const TASKS: usize = 32;
/// Fewest pixels that are worth sums of their own.
const SPLIT_PIXELS: usize = 256;
/// Sums of one task: with what it reads, as many as a first-level cache holds.
const SUMS: usize = 4096;

/// Sizes of the tasks of one convolution.
pub(super) struct DirectPlan {
    /// The forward convolution.
    geometry: Direct,
    /// Values per image of its input and of its output.
    input_image: usize,
    output_image: usize,
    /// Ranges that the batch's output rows are cut into, each summed by itself.
    splits: usize,
    /// Values of a register block, register blocks of a task, and tasks of a range.
    height: usize,
    blocks: usize,
    bands: usize,
    /// Padded output channels.
    width: usize,
}

impl DirectPlan {
    pub(super) fn new(
        kernels: &Kernels,
        batch: usize,
        (kernel, stride): (usize, usize),
        input: &Layout,
        output: &Layout,
    ) -> DirectPlan {
        let (geometry, _) = direct_forward(kernels, kernel, stride, input, output);
        let (height, width) = (kernels.correlation_rows, output.stride);
        let blocks = (SUMS / (height * width)).max(1);
        let bands = geometry.blocks(height).div_ceil(blocks);
        let rows = batch * geometry.rows;
        let most = (rows * geometry.cols / SPLIT_PIXELS).clamp(1, rows);
        DirectPlan {
            input_image: input.image,
            output_image: output.image,
            splits: TASKS.div_ceil(bands).min(most),
            height,
            blocks,
            bands,
            width,
            geometry,
        }
    }

    pub(super) fn need(&self) -> Need {
        Need { sums: self.splits * self.geometry.depth() * self.width, bias: self.splits * self.width }
    }

    /// Correlates and adds the sums to the target; returns how many partial bias gradients it left.
    ///
    /// # Safety
    /// As [`CorrelationPlan::run`](super::CorrelationPlan::run).
    pub(super) unsafe fn run(
        &self,
        kernels: &Kernels,
        workers: &Workers,
        shared: &Shared,
        operands: Operands,
        target: Target,
    ) -> usize {
        let Operands { images, x, g } = operands;
        let Self { ref geometry, splits, height, bands, width, .. } = *self;
        let (sums, bias) = (&shared.sums, &shared.bias);
        let size = geometry.depth() * width;
        let rows = images * geometry.rows;
        workers.run(splits * bands, |task, _| {
            let (split, band) = (task / bands, task % bands);
            let first = band * self.blocks;
            let blocks = first..(first + self.blocks).min(geometry.blocks(height));
            let values = geometry.block(first, height).1.start..geometry.block(blocks.end - 1, height).1.end;
            // SAFETY: each task has its own rows of its own split, the first of a split its bias, too.
            unsafe {
                let sums = sums.ptr().add(split * size);
                sums.add(values.start * width).write_bytes(0, values.len() * width);
                let mut of_split = std::ptr::null_mut();
                if band == 0 {
                    of_split = bias.ptr().add(split * width);
                    of_split.write_bytes(0, width);
                }
                (kernels.correlate)(&Correlation {
                    geometry,
                    x: x.image(0, 0),
                    x_image: self.input_image,
                    g: g.image(0, 0),
                    g_image: self.output_image,
                    rows: split * rows / splits..(split + 1) * rows / splits,
                    blocks,
                    sums,
                    bias: of_split,
                });
            }
        });
        // SAFETY: the sums hold as many splits of this form.
        unsafe { target.add_shares(workers, sums, splits, geometry.depth() / target.taps, width) };
        splits
    }
}
