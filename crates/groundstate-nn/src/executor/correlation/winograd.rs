//! Weight gradients by Winograd's filtering, in shares of the tiles.

use super::super::convolution::winograd_forward;
use super::super::layout::Layout;
use super::super::workers::Workers;
use super::{Need, Operands, Shared, Target};
use crate::kernels::Kernels;
use crate::kernels::winograd::{TileGradient, Winograd};

/// Transformed values of one run of tiles, which is summed up before it is added to the weight gradient:
/// as many as a second-level cache holds. Part of the order of summation, as all sizes here: not to depend on the
/// machine.
const RUN_VALUES: usize = 200_000;
/// Most shares of the tiles, for as many threads, and fewest tiles that are worth sums of their own.
const SHARES: usize = 4;
const SHARE_TILES: usize = 64;

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
    /// Input channels of a block of weights.
    rows: usize,
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
        let run = (RUN_VALUES / geometry.tile_values(kernels.correlation_rows, lanes)).clamp(16, 256) / 8 * 8;
        let most = (batch * geometry.tiles() / SHARE_TILES).clamp(1, SHARES);
        let shares = 1 << most.ilog2();
        let vectors = geometry.vectors;
        let block = if shares == 1 { vectors.div_ceil(2).next_multiple_of(2) } else { vectors };
        WinogradPlan { geometry, taps, run, shares, block, lanes, rows: kernels.correlation_rows }
    }

    pub(super) fn need(&self) -> Need {
        Need { sums: self.shares * self.sums(), bias: self.shares * self.geometry.vectors * self.lanes }
    }

    /// Values of the weight gradient of one share.
    fn sums(&self) -> usize {
        self.taps.len() * self.geometry.channels * self.geometry.vectors * self.lanes
    }

    /// Scratch values of one task.
    pub(super) fn scratch(&self) -> usize {
        self.geometry.gradient_scratch(self.run, self.rows, self.lanes)
    }

    /// Computes the weight gradient of each share of the tiles and adds them to the target; returns how many partial
    /// bias gradients it left.
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
        let (width, size) = (geometry.vectors * self.lanes, self.sums());
        let tiles = images * geometry.tiles();
        let shares = self.shares.min(tiles);
        let blocks = geometry.vectors.div_ceil(self.block);
        let (sums, bias) = (&shared.sums, &shared.bias);
        workers.run(shares * blocks, |task, scratch| {
            let (share, first) = (task / blocks, task % blocks * self.block);
            // SAFETY: operands by the caller's contract; each task has its own columns of its own share, in
            // buffers sized by `need`, and scratch of its own.
            unsafe {
                (kernels.winograd_gradient)(&TileGradient {
                    geometry,
                    taps: &self.taps,
                    x: x.image(0, 0),
                    g: g.image(0, 0),
                    tiles: share * tiles / shares..(share + 1) * tiles / shares,
                    run: self.run,
                    vectors: first..(first + self.block).min(geometry.vectors),
                    scratch,
                    sums: sums.ptr().add(share * size),
                    bias: bias.ptr().add(share * width),
                });
            }
        });
        // SAFETY: the sums hold as many shares of this form.
        unsafe { target.add_shares(workers, sums, shares, geometry.channels, width) };
        shares
    }
}
