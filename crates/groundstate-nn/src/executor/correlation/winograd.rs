//! Weight gradients by Winograd's filtering, in shares of the tiles.

use super::super::convolution::winograd_forward;
use super::super::layout::Layout;
use super::super::workers::Workers;
use super::{Need, Operands, Shared, Target};
use crate::kernels::Kernels;
use crate::kernels::winograd::{Shares, TileProducts, Winograd};

/// Transformed values of one run of tiles, which is summed up before it is added to the sums of products:
/// as many as a second-level cache holds. Part of the order of summation, as all sizes here: not to depend on the
/// machine.
const RUN_VALUES: usize = 200_000;
/// Most shares of the tiles, for as many threads, and fewest tiles that are worth sums of their own.
const SHARES: usize = 4;
const SHARE_TILES: usize = 64;
/// Input channels of one task of the last transform.
const CHANNELS: usize = 8;

/// Sizes of the tasks of one convolution.
pub(super) struct WinogradPlan {
    /// The forward convolution and the kernel places of its taps.
    geometry: Winograd,
    taps: Vec<usize>,
    /// Tiles of a run.
    run: usize,
    /// Shares of the tiles, each with its own sums, and blocks of output vectors: tiles that are too few to be
    /// shared are transformed for each block.
    shares: usize,
    block: usize,
    lanes: usize,
}

impl WinogradPlan {
    pub(super) fn new(
        kernels: &Kernels,
        batch: usize,
        kernel: usize,
        input: &Layout,
        output: &Layout,
    ) -> WinogradPlan {
        let (geometry, taps) = winograd_forward(kernels, kernel, input, output);
        let lanes = kernels.lanes;
        let run = (RUN_VALUES / geometry.run_values(1, lanes)).clamp(16, 256) / 8 * 8;
        let most = (batch * geometry.tiles() / SHARE_TILES).clamp(1, SHARES);
        let shares = 1 << most.ilog2();
        let vectors = geometry.vectors;
        let block = if shares == 1 { vectors.div_ceil(2).next_multiple_of(2) } else { vectors };
        WinogradPlan { geometry, taps, run, shares, block, lanes }
    }

    pub(super) fn need(&self) -> Need {
        Need {
            gradients: 0,
            sums: self.shares * self.geometry.weights(self.lanes),
            bias: self.shares * self.geometry.vectors * self.lanes,
        }
    }

    /// Scratch values of one task.
    pub(super) fn scratch(&self) -> usize {
        let weights = self.taps.len() * self.geometry.vectors * self.lanes;
        self.geometry.run_values(self.run, self.lanes).max(weights)
    }

    /// Sums products over all tiles, transforms them and adds them to the target; returns how many partial bias
    /// gradients it left.
    ///
    /// # Safety
    /// As [`CorrelationPlan::run`](super::CorrelationPlan::run), and there are images.
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
        let (width, step) = (geometry.vectors * self.lanes, geometry.weights(self.lanes));
        let tiles = images * geometry.tiles();
        let shares = self.shares.min(tiles);
        let blocks = geometry.vectors.div_ceil(self.block);
        let (sums, bias) = (&shared.sums, &shared.bias);
        workers.run(shares * blocks, |task, scratch| {
            let (share, first) = (task / blocks, task % blocks * self.block);
            // SAFETY: operands by the caller's contract; each task has its own columns of its own share, in
            // buffers sized by `need`, and scratch of its own.
            unsafe {
                (kernels.winograd_products)(&TileProducts {
                    geometry,
                    x: x.image(0, 0),
                    g: g.image(0, 0),
                    tiles: share * tiles / shares..(share + 1) * tiles / shares,
                    run: self.run,
                    vectors: first..(first + self.block).min(geometry.vectors),
                    scratch,
                    sums: sums.ptr().add(share * step),
                    bias: bias.ptr().add(share * width),
                });
            }
        });
        let sums = Shares { sums: sums.ptr(), count: shares, step };
        // Block by block again, so that a thread finishes what it has summed up.
        let parts = target.depth.div_ceil(CHANNELS);
        workers.run(blocks * parts, |task, scratch| {
            let (first, channel) = (task / parts * self.block, task % parts * CHANNELS);
            let vectors = first..(first + self.block).min(geometry.vectors);
            let columns = first * self.lanes..(vectors.end * self.lanes).min(target.out);
            for channel in channel..(channel + CHANNELS).min(target.depth) {
                // SAFETY: each task has its own columns of its own input channels, and scratch for all places of
                // one of them.
                unsafe {
                    (kernels.winograd_finish)(geometry, &sums, &self.taps, channel, vectors.clone(), scratch);
                    for tap in 0..self.taps.len() {
                        target.add(tap, channel, columns.clone(), scratch.add(tap * width));
                    }
                }
            }
        });
        shares
    }
}
