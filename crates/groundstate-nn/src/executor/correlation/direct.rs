//! Weight gradients by the definition.

use super::super::convolution::direct_forward;
use super::super::layout::Layout;
use super::super::workers::Workers;
use super::{Need, Operands, Shared, Target};
use crate::kernels::Kernels;
use crate::kernels::direct::Direct;
use crate::kernels::weight_gradient::{Correlation, PANEL};

/// Tasks to aim at, so that many threads find work in small layers too. Part of the order of summation:
/// not to depend on the machine.
const TASKS: usize = 32;
/// Pixels of one packing task.
const PACK_PIXELS: usize = 2048;

/// Sizes of the tasks of one convolution.
pub(super) struct DirectPlan {
    /// The forward convolution.
    geometry: Direct,
    /// Values per image of its input and of its output.
    input_image: usize,
    output_image: usize,
    /// Ranges that the batch's output rows are cut into, each summed by itself.
    splits: usize,
    /// Output rows of one packing task.
    pack_rows: usize,
    /// Padded output channels.
    width: usize,
    /// Rows of the weight gradient in one task.
    block: usize,
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
        let block = kernels.correlation_rows;
        let units = geometry.depth().div_ceil(block);
        DirectPlan {
            input_image: input.image,
            output_image: output.image,
            splits: TASKS.div_ceil(units).min(batch * geometry.rows),
            pack_rows: (PACK_PIXELS / geometry.cols).clamp(1, geometry.rows),
            width: output.stride,
            block,
            geometry,
        }
    }

    fn pack_bands(&self) -> usize {
        self.geometry.rows.div_ceil(self.pack_rows)
    }

    pub(super) fn need(&self, batch: usize) -> Need {
        let pixels = self.geometry.rows * self.geometry.cols;
        Need {
            gradients: batch * pixels * self.width,
            sums: self.splits * self.geometry.depth() * self.width,
            bias: batch * self.pack_bands() * self.width,
        }
    }

    /// Scratch values of one task.
    pub(super) fn scratch(&self, lanes: usize) -> usize {
        (PANEL.max(self.geometry.cols) + 1) * lanes
    }

    /// Packs the gradient, correlates, and adds the sums to the target; returns how many partial bias gradients it
    /// left.
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
        let geometry = &self.geometry;
        let bands = self.pack_bands();
        let (width, pixels) = (self.width, geometry.rows * geometry.cols);
        let (packed, bias, sums) = (&shared.gradients, &shared.bias, &shared.sums);
        workers.run(images * bands, |task, _| {
            let (image, band) = (task / bands, task % bands);
            let first = band * self.pack_rows;
            // SAFETY: as below.
            unsafe { bias.ptr().add(task * width).write_bytes(0, width) };
            for row in first..(first + self.pack_rows).min(geometry.rows) {
                // SAFETY: one row of one image, and its place in the packed gradient: tasks are disjoint,
                // and the buffers were sized by `need`.
                unsafe {
                    let from = g.image(image, self.output_image);
                    let from = from.add(geometry.output + row * geometry.output_row);
                    let to = packed.ptr().add(image * pixels * width);
                    (kernels.pack_gradient)(geometry, from, to, row, bias.ptr().add(task * width));
                }
            }
        });
        let size = geometry.depth() * width;
        let units = geometry.depth().div_ceil(self.block);
        let rows = images * geometry.rows;
        let share = rows.div_ceil(self.splits);
        workers.run(self.splits * units, |task, panel| {
            let (split, unit) = (task / units, task % units);
            let first = unit * self.block;
            let count = self.block.min(geometry.depth() - first);
            let (from, to) = ((split * share).min(rows), ((split + 1) * share).min(rows));
            // SAFETY: each task has its own rows of its own split; the panel is the task's own.
            unsafe {
                let sums = sums.ptr().add(split * size + first * width);
                sums.write_bytes(0, count * width);
                let (x, packed) = (x.image(0, 0), packed.ptr().cast_const());
                let image = self.input_image;
                let task = Correlation { geometry, x, image, packed, from, to, first, count, sums };
                (kernels.correlate)(&task, panel);
            }
        });
        // SAFETY: the sums hold as many splits of this form.
        unsafe { target.add_shares(workers, sums, self.splits, geometry.depth() / target.taps, width) };
        images * bands
    }
}
