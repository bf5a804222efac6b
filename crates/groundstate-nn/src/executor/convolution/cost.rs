//! When Winograd's filtering takes less time than the definition.
//!
//! Costs are counted in multiply-adds of a vector. Whether a pass uses it depends on the picture's size and
//! the layer only, never on the batch, so that an image's results do not depend on its neighbours.

use super::super::layout::Layout;
use crate::kernels::winograd::STEP;

/// What transforming one vector of a tile costs for each place, forth or back; measured.
const TRANSFORM_COST: usize = 16;
/// What reading, adding to, writing and transforming one vector of a weight gradient's sums costs.
const SUM_COST: usize = 8;
/// Tiles (or pixels) that are paid for at least. More fit a register block, but those of a batch share one, and
/// pictures of maps so small are mostly read in batches.
const BLOCK: usize = 2;

/// The two costs for one image.
struct Cost {
    direct: usize,
    winograd: usize,
    /// Vectors of transformed weights.
    weights: usize,
}

impl Cost {
    /// For `size` outputs. `taps` is the side of the filter, `channels` and `width` are the padded channels
    /// that it reads and writes.
    fn new(lanes: usize, taps: usize, channels: usize, width: usize, (rows, cols): (usize, usize)) -> Cost {
        let tiles = rows.div_ceil(STEP) * cols.div_ceil(STEP);
        let side = STEP + taps - 1;
        let weights = side * side * channels * (width / lanes);
        let transforms = TRANSFORM_COST * side * side * (channels + width) / lanes;
        Cost {
            direct: (rows * cols).max(BLOCK) * taps * taps * channels * (width / lanes),
            winograd: tiles.max(BLOCK) * weights + tiles * transforms,
            weights,
        }
    }

    fn forward(lanes: usize, kernel: usize, stride: usize, input: &Layout, output: &Layout) -> Option<Cost> {
        let size = (output.height, output.width);
        let whole = input.stride.is_multiple_of(lanes);
        match (kernel, stride) {
            (3, 1) if whole => Some(Cost::new(lanes, 3, input.stride, output.stride, size)),
            (4, 2) if whole => Some(Cost::new(lanes, 2, 4 * input.stride, output.stride, size)),
            _ => None,
        }
    }
}

/// Whether a forward convolution gains by it, clearly.
pub(super) fn pays_forward(
    lanes: usize,
    kernel: usize,
    stride: usize,
    input: &Layout,
    output: &Layout,
) -> bool {
    Cost::forward(lanes, kernel, stride, input, output).is_some_and(|c| 5 * c.direct > 6 * c.winograd)
}

/// Whether an input gradient does. Odd sizes at stride 2 have phases of different sizes, and never do.
pub(super) fn pays_backward(
    lanes: usize,
    kernel: usize,
    stride: usize,
    output: &Layout,
    input: &Layout,
) -> bool {
    let (h, w) = (input.height, input.width);
    let cost = match (kernel, stride) {
        (3, 1) => Cost::new(lanes, 3, output.stride, input.stride, (h, w)),
        (4, 2) if h % 2 == 0 && w % 2 == 0 => {
            Cost::new(lanes, 2, output.stride, input.stride, (h / 2, w / 2))
        }
        _ => return false,
    };
    5 * cost.direct > 6 * cost.winograd
}

/// Whether the weight gradient of a batch does; its sums cost the same for any number of tiles.
pub(in super::super) fn pays_correlation(
    lanes: usize,
    batch: usize,
    (kernel, stride): (usize, usize),
    input: &Layout,
    output: &Layout,
) -> bool {
    let pays = |c: Cost| 5 * batch * c.direct > 6 * (batch * c.winograd + SUM_COST * c.weights);
    Cost::forward(lanes, kernel, stride, input, output).is_some_and(pays)
}
