//! The layers a network is made of, as plain data.

use serde::{Deserialize, Serialize};

/// The function applied to each output of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// f(z) = z.
    Identity,
    /// f(z) = z · σ(z), the sigmoid-weighted linear unit (Elfwing et al. 2017; "swish"). Smooth: the only
    /// one here with a second derivative.
    Silu,
    /// f(z) = z for z ≥ 0 and 0.2 · z below; its second derivative is taken as 0 everywhere.
    LeakyRelu,
}

/// Slope of [`Activation::LeakyRelu`] below zero.
pub const LEAKY_SLOPE: f32 = 0.2;

/// Added to Σ(w − mean)² of standardised weights, so that constant ones divide by no zero; the value of Brock et al. 2021.
pub(crate) const STANDARDISE_EPSILON: f64 = 1e-4;

/// One layer. Arrays are f32, laid out `n, height, width, channels`, channels fastest.
///
/// # Shapes
/// | layer | inputs | output |
/// |---|---|---|
/// | `Image { channels: c }` | none | `h, w, c` |
/// | `Coordinates` | none | `h, w, 2` |
/// | `NoiseLevel` | none | `h, w, 1` |
/// | `Conv { kernel: 1 or 3, stride: 1, out_channels: o }` | `h, w, c` | `h, w, o` |
/// | `Conv { kernel: 3, stride: 2, out_channels: o }` | `h, w, c` | `⌈h/2⌉, ⌈w/2⌉, o` |
/// | `Conv { kernel: 4, stride: 2, out_channels: o }` | `h, w, c` with h, w ≥ 2 | `⌊h/2⌋, ⌊w/2⌋, o` |
/// | `Upsample` | `h, w, c` | `2h, 2w, c` |
/// | `AveragePool` | `h, w, c` with h, w ≥ 2 | `⌊h/2⌋, ⌊w/2⌋, c` |
/// | `Concat` | `h, w, c₁` … `h, w, cₖ` | `h, w, c₁ + … + cₖ` |
/// | `Add` | `h, w, c` twice or more | `h, w, c` |
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Layer {
    /// The picture given to `forward`. Exactly one, as node 0.
    Image {
        /// Channels of the picture, at least 1.
        channels: usize,
    },
    /// Two channels x, y at picture resolution, linear over the picture: the centre of column j of w is at
    /// x = (2j + 1)/w − 1, so the picture's edges are at −1 and 1 whatever its size; y likewise downwards.
    Coordinates,
    /// One channel at picture resolution that holds the image's noise level, a number given to `forward`.
    NoiseLevel,
    /// A convolution with zero padding, a bias and an activation.
    ///
    /// Padding is 1 on each side for kernels 3 and 4, none for kernel 1.
    Conv {
        /// Output channels, at least 1.
        out_channels: usize,
        /// Side of the square kernel: 1, 3 or 4.
        kernel: usize,
        /// 1, or 2 for kernels 3 and 4; kernel 4 has stride 2 only.
        stride: usize,
        /// Applied to the biased sums.
        activation: Activation,
        /// Scaled weight standardisation (Qiao et al. 2019; Brock et al. 2021, eq. 1): the weights that act
        /// are `gain · (w − mean)/√(var · fan_in + 10⁻⁴)`, mean and variance taken for each output channel,
        /// with one learned gain per output channel.
        #[serde(default)]
        standardise: bool,
    },
    /// Nearest-neighbour enlargement by two: each value is repeated in a 2×2 block.
    Upsample,
    /// The mean of each 2×2 block; an odd last row or column is left out.
    AveragePool,
    /// The channels of all inputs, in order.
    Concat,
    /// The sum of all inputs.
    Add,
}

/// A layer and the nodes it reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// What is computed.
    pub layer: Layer,
    /// Indices of earlier nodes in the network's list.
    #[serde(default)]
    pub inputs: Vec<usize>,
}

impl Layer {
    /// The layer's name in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Layer::Image { .. } => "image",
            Layer::Coordinates => "coordinates",
            Layer::NoiseLevel => "noise level",
            Layer::Conv { .. } => "conv",
            Layer::Upsample => "upsample",
            Layer::AveragePool => "average pool",
            Layer::Concat => "concat",
            Layer::Add => "add",
        }
    }
}

/// Rows (and columns) of zeros before the first pixel that a kernel reads.
pub(crate) fn padding(kernel: usize) -> usize {
    usize::from(kernel > 1)
}
