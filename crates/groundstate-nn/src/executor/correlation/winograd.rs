//! Weight gradients by Winograd's filtering, chunk by chunk of tiles.

use super::super::convolution::winograd_forward;
use super::super::layout::Layout;
use super::super::workers::Workers;
use super::{Need, Operands, Shared};
use crate::buffer::Buffer;
use crate::kernels::Kernels;
use crate::kernels::winograd::{GradientTiles, PlaceProduct, Winograd};

/// Transformed values of one run of tiles, which is summed up before it is added to the sums of products:
/// as many as a second-level cache holds. Part of the order of summation: not to depend on the machine.
const RUN_VALUES: usize = 200_000;
/// Tiles of one transforming task.
const TILES: usize = 8;
/// Rows of a product in one task.
const ROWS: usize = 48;

/// Sizes of the tasks of one convolution.
pub(super) struct WinogradPlan {
    /// The forward convolution and the kernel places of its taps.
    geometry: Winograd,
    taps: Vec<usize>,
    /// Tiles of a run, and of a chunk: one run for each thread. Runs are added in order, so the result does
    /// not depend on how many a chunk has.
    run: usize,
    chunk: usize,
    lanes: usize,
    /// Sums of products: `place, depth, padded output channels`.
    products: Buffer,
}

impl WinogradPlan {
    pub(super) fn new(kernels: &Kernels, kernel: usize, input: &Layout, output: &Layout) -> WinogradPlan {
        let (geometry, taps) = winograd_forward(kernels, kernel, input, output);
        let lanes = kernels.lanes;
        let (inputs, gradients) = geometry.chunk_values(1, lanes);
        let run = (RUN_VALUES / (inputs + gradients)).clamp(32, 256) / TILES * TILES;
        let products = Buffer::zeros(geometry.weights(lanes));
        WinogradPlan { geometry, taps, run, chunk: run * Workers::threads(), lanes, products }
    }

    pub(super) fn need(&self, batch: usize) -> Need {
        let (inputs, gradients) = self.geometry.chunk_values(self.chunk, self.lanes);
        let tasks = (batch * self.geometry.tiles()).div_ceil(TILES);
        Need { gradients, inputs, bias: tasks * self.geometry.vectors * self.lanes }
    }

    /// Values allocated.
    pub(super) fn len(&self) -> usize {
        self.products.len()
    }

    /// Sums products over all tiles and transforms them; returns how many partial bias gradients it left.
    ///
    /// # Safety
    /// As [`CorrelationPlan::run`](super::CorrelationPlan::run); `sums` is as large as planned.
    pub(super) unsafe fn run(
        &mut self,
        kernels: &Kernels,
        workers: &Workers,
        shared: &Shared,
        operands: Operands,
        sums: &mut Buffer,
    ) -> usize {
        let Operands { images, x, g } = operands;
        let (geometry, chunk, products) = (&self.geometry, self.chunk, &self.products);
        let (inputs, gradients, bias) = (&shared.inputs, &shared.gradients, &shared.bias);
        let (depth, width) = (geometry.depth(), geometry.vectors * self.lanes);
        let tiles = images * geometry.tiles();
        if tiles == 0 {
            sums.as_mut_slice().fill(0.0);
            return 0;
        }
        for start in (0..tiles).step_by(chunk) {
            let count = chunk.min(tiles - start);
            workers.run(count.div_ceil(TILES), |task, _| {
                let slot = task * TILES;
                // SAFETY: operands by the caller's contract; each task has its own tiles of the chunk and
                // its own bias, in buffers sized by `need`.
                unsafe {
                    (kernels.winograd_gradient_tiles)(&GradientTiles {
                        geometry,
                        x: x.image(0, 0),
                        g: g.image(0, 0),
                        first: start + slot,
                        count: TILES.min(count - slot),
                        slot,
                        chunk,
                        inputs: inputs.ptr(),
                        gradients: gradients.ptr(),
                        bias: bias.ptr().add((start + slot) / TILES * width),
                    });
                }
            });
            let blocks = depth.div_ceil(ROWS);
            workers.run(geometry.places() * blocks, |task, _| {
                let first = task % blocks * ROWS;
                // SAFETY: each task has its own rows of its own place.
                unsafe {
                    (kernels.winograd_accumulate)(&PlaceProduct {
                        geometry,
                        place: task / blocks,
                        first,
                        last: (first + ROWS).min(depth),
                        count,
                        chunk,
                        run: self.run,
                        inputs: inputs.ptr(),
                        gradients: gradients.ptr(),
                        sums: products.ptr(),
                        fresh: start == 0,
                    });
                }
            });
        }
        let (taps, sums) = (&self.taps, &*sums);
        workers.run(geometry.channels, |channel, _| {
            // SAFETY: each task has its own input channel.
            unsafe { (kernels.winograd_finish)(geometry, products.ptr(), taps, channel, sums.ptr()) }
        });
        tiles.div_ceil(TILES)
    }
}
