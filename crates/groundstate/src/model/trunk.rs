//! Inner layers of a trained network as features: what it looks at before it decides.
//!
//! A network that tells normal pictures from corrupted ones knows what surfaces and edges are made of, also where
//! it sees nothing wrong; a density of its features finds more than its decision does (Li et al. 2021,
//! *CutPaste*, section 3.2).

use groundstate_nn::{Activation, Layer, Network, Node, Parameters};

use super::gaussian::Projection;
use super::{Batch, Learned, NetworkConfig};

/// Stride of a cell: where the layers are brought together.
const CELL_STRIDE: usize = 8;

/// What of a picture inner layers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All of its pixels.
    Full,
    /// Means of 2 × 2 pixels: twice as much of the picture around each place.
    Half,
}

/// The encoder of a network, followed by a projection of what it has at some of its strides: k features for every cell
/// of 8 pixels, or of 16 at half [`Sight`].
#[derive(Clone, Debug)]
pub(crate) struct Trunk(Learned);

impl Sight {
    /// Both, from the finer to the coarser.
    pub const ALL: [Self; 2] = [Self::Full, Self::Half];

    /// Strides of the layers that are looked at. The coarsest blurs what full sight is for: the place of small defects.
    fn strides(self) -> &'static [usize] {
        match self {
            Self::Full => &[4, 8, 16],
            Self::Half => &[4, 8, 16, 32],
        }
    }

    /// Edge in pixels of a cell.
    pub(super) fn cell_px(self) -> usize {
        match self {
            Self::Full => CELL_STRIDE,
            Self::Half => 2 * CELL_STRIDE,
        }
    }

    /// Edges of pictures must be multiples of this many pixels.
    pub const fn size_multiple(self) -> usize {
        match self {
            Self::Full => NetworkConfig::SIZE_MULTIPLE,
            Self::Half => 2 * NetworkConfig::SIZE_MULTIPLE,
        }
    }
}

impl Trunk {
    /// All features of the layers, as they are; `None` for a network without layers of these strides, and at half
    /// sight for one that sees more than the picture.
    pub(super) fn of(learned: &Learned, sight: Sight) -> Option<Self> {
        let layers = layers(&learned.network, sight.strides())?;
        let encoder = &learned.network.nodes()[..=*layers.iter().max()?];
        let mut trunk = vec![encoder.first()?.clone()];
        if sight == Sight::Half {
            push(&mut trunk, Layer::AveragePool, vec![0]);
        }
        // The picture, or what half sight makes of it, is where the encoder reads its first node.
        let first = trunk.len() - 1;
        for node in &encoder[1..] {
            let inputs = node.inputs.iter().map(|input| first + input).collect();
            push(&mut trunk, node.layer.clone(), inputs);
        }
        let mut inputs = Vec::new();
        let mut dimensions = 0;
        for layer in layers {
            dimensions += learned.network.channels()[layer];
            let mut at = first + layer;
            let mut stride = learned.network.stride(layer);
            while stride < CELL_STRIDE {
                at = push(&mut trunk, Layer::AveragePool, vec![at]);
                stride *= 2;
            }
            while stride > CELL_STRIDE {
                at = push(&mut trunk, Layer::Upsample, vec![at]);
                stride /= 2;
            }
            inputs.push(at);
        }
        let both = push(&mut trunk, Layer::Concat, inputs);
        push(&mut trunk, projection(dimensions), vec![both]);
        let network = Network::new(trunk).ok()?;
        let mut parameters = Parameters::zeros(&network);
        // Both list the parameters of the encoder first, in the same order.
        let of_projection = 2;
        let of_encoder = parameters.iter().len() - of_projection;
        for ((_, _, to), (_, _, from)) in
            parameters.iter_mut().zip(learned.parameters.iter()).take(of_encoder)
        {
            to.copy_from_slice(from);
        }
        let identity = (0..dimensions * dimensions).map(|at| f32::from(u8::from(at % (dimensions + 1) == 0)));
        let (weight, bias) = last_layer(&mut parameters);
        weight.iter_mut().zip(identity).for_each(|(to, from)| *to = from);
        bias.fill(0.0);
        Some(Self(Learned::new(network, parameters, learned.noise_level)))
    }

    /// The same layers, seen through a projection of their features.
    pub(super) fn projected(&self, by: &Projection) -> Self {
        let Self(Learned { network, parameters, noise_level, .. }) = self;
        let (d, k) = (by.centre.len(), by.matrix.len() / by.centre.len());
        let mut nodes = network.nodes().to_vec();
        nodes.last_mut().expect("a network has a last node").layer = projection(k);
        let network = Network::new(nodes).expect("only the last layer has other channels");
        let mut of_all = Parameters::zeros(&network);
        for ((_, _, to), (_, _, from)) in of_all.iter_mut().zip(parameters.iter()) {
            if to.len() == from.len() {
                to.copy_from_slice(from);
            }
        }
        let (weight, bias) = last_layer(&mut of_all);
        weight.iter_mut().enumerate().for_each(|(at, weight)| *weight = by.matrix[at % k * d + at / k]);
        for (bias, axis) in bias.iter_mut().zip(by.matrix.chunks_exact(d)) {
            *bias = -axis.iter().zip(&by.centre).map(|(a, c)| a * c).sum::<f32>();
        }
        Self(Learned::new(network, of_all, *noise_level))
    }

    /// The network as it is stored.
    pub(crate) fn network(&self) -> &Learned {
        &self.0
    }

    /// A network as it was stored; `None` if it is none of this form.
    pub(crate) fn from_network(learned: Learned) -> Option<Self> {
        let stride = learned.network.total_stride();
        let fits = Sight::ALL.iter().any(|sight| sight.cell_px() == stride) && learned.noise_level.is_none();
        fits.then_some(Self(learned))
    }

    /// Edge of a cell in pixels.
    pub(super) fn cell_px(&self) -> usize {
        self.0.network.total_stride()
    }

    /// Features of a cell.
    pub(super) fn dimensions(&self) -> usize {
        self.0.network.output_channels()
    }

    /// Channels of the pictures.
    pub(super) fn channels(&self) -> usize {
        self.0.network.input_channels()
    }

    /// Features of every picture: cells × dimensions.
    pub(super) fn features(&self, batch: &Batch) -> Vec<Vec<f32>> {
        self.0.outputs(batch)
    }

    /// The gradient at the pixels of Σ slopes · features of every picture.
    pub(super) fn pull_back(&self, batch: &Batch, slopes: &[Vec<f32>]) -> Vec<Vec<f32>> {
        self.0.pull_back(batch, slopes)
    }
}

impl PartialEq for Trunk {
    fn eq(&self, other: &Self) -> bool {
        let [a, b] = [&self.0, &other.0];
        a.network == b.network && a.parameters.iter().eq(b.parameters.iter())
    }
}

/// The last convolution of each stride on the way down.
fn layers(network: &Network, strides: &[usize]) -> Option<Vec<usize>> {
    let up = network.nodes().iter().position(|node| node.layer == Layer::Upsample)?;
    strides.iter().map(|stride| (0..up).rfind(|&node| network.stride(node) == *stride)).collect()
}

fn projection(out_channels: usize) -> Layer {
    Layer::Conv { out_channels, kernel: 1, stride: 1, activation: Activation::Identity, standardise: false }
}

fn push(nodes: &mut Vec<Node>, layer: Layer, inputs: Vec<usize>) -> usize {
    nodes.push(Node { layer, inputs });
    nodes.len() - 1
}

/// Weights (in × out) and biases of the last layer.
fn last_layer(parameters: &mut Parameters) -> (&mut [f32], &mut [f32]) {
    let first = parameters.iter().len() - 2;
    let mut last = parameters.iter_mut().skip(first).map(|(_, _, values)| values);
    match (last.next(), last.next()) {
        (Some(weight), Some(bias)) => (weight, bias),
        _ => unreachable!("a convolution that is not standardised has weights and biases"),
    }
}

#[cfg(test)]
mod tests {
    use groundstate_nn::LastLayer;

    use super::*;

    fn learned() -> Learned {
        let network = NetworkConfig { width: 2, coordinates: false }.network(3, false).unwrap();
        let parameters = Parameters::initialise_with(&network, 1, LastLayer::Random);
        Learned::new(network, parameters, None)
    }

    fn batch() -> Batch {
        let values = (0..2 * 64 * 64 * 3).map(|i| (i * i % 251) as f32 / 251.0).collect();
        Batch { count: 2, height: 64, width: 64, channels: 3, values }
    }

    #[test]
    fn a_projected_trunk_has_the_projections_of_its_features() {
        for (sight, cells, d) in [(Sight::Full, 8 * 8, 4 + 6 + 8), (Sight::Half, 4 * 4, 4 + 6 + 8 + 8)] {
            let all = Trunk::of(&learned(), sight).unwrap();
            assert_eq!(all.dimensions(), d);
            let features = all.features(&batch());
            let projection = Projection::principal(&features, all.dimensions(), 5);
            let projected = all.projected(&projection).features(&batch());
            assert_eq!(projected[0].len(), cells * 5);
            let (projected, features) = (projected.concat(), features.concat());
            for (seen, all) in projected.chunks_exact(5).zip(features.chunks_exact(d)) {
                for (seen, axis) in seen.iter().zip(projection.matrix.chunks_exact(d)) {
                    let expected: f32 =
                        axis.iter().zip(all).zip(&projection.centre).map(|((a, f), c)| a * (f - c)).sum();
                    assert!((seen - expected).abs() < 1e-3 * (1.0 + expected.abs()), "{seen} {expected}");
                }
            }
        }
    }

    #[test]
    fn at_half_sight_it_sees_the_picture_of_half_the_size() {
        let (full, half) =
            (Trunk::of(&learned(), Sight::Full).unwrap(), Trunk::of(&learned(), Sight::Half).unwrap());
        let batch = batch();
        let at = |picture: usize, y: usize, x: usize, c: usize| {
            batch.values[((picture * 64 + y) * 64 + x) * 3 + c]
        };
        let values = (0..2 * 32 * 32 * 3).map(|i| {
            let (picture, y, x, c) = (i / (32 * 32 * 3), i / (32 * 3) % 32, i / 3 % 32, i % 3);
            let sum = at(picture, 2 * y, 2 * x, c)
                + at(picture, 2 * y, 2 * x + 1, c)
                + at(picture, 2 * y + 1, 2 * x, c)
                + at(picture, 2 * y + 1, 2 * x + 1, c);
            sum / 4.0
        });
        let halved = Batch { height: 32, width: 32, values: values.collect(), ..batch.clone() };
        let (expected, seen) = (full.features(&halved).concat(), half.features(&batch).concat());
        let (expected, seen) = (expected.chunks_exact(18), seen.chunks_exact(26));
        assert_eq!(expected.len(), seen.len());
        // Half sight looks at one layer more, which comes last.
        for (expected, seen) in expected.flatten().zip(seen.flat_map(|cell| &cell[..18])) {
            assert!((expected - seen).abs() < 1e-4 * (1.0 + expected.abs()), "{expected} {seen}");
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let (trunk, batch) = (Trunk::of(&learned(), Sight::Half).unwrap(), batch());
        let slopes: Vec<Vec<f32>> = trunk
            .features(&batch)
            .iter()
            .map(|f| (0..f.len()).map(|i| (i % 7) as f32 - 3.0).collect())
            .collect();
        let sum = |batch: &Batch| -> f64 {
            let of = trunk.features(batch);
            of.iter().flatten().zip(slopes.iter().flatten()).map(|(&f, &s)| f64::from(f * s)).sum()
        };
        let gradient = trunk.pull_back(&batch, &slopes).concat();
        for at in [0, 5000, 12287, 12288, 20000] {
            let moved = |by: f32| {
                let mut values = batch.values.clone();
                values[at] += by;
                sum(&batch.with_values(values))
            };
            let expected = (moved(0.01) - moved(-0.01)) / 0.02;
            assert!(
                (f64::from(gradient[at]) - expected).abs() < 0.02 * (1.0 + expected.abs()),
                "{} {expected}",
                gradient[at]
            );
        }
    }
}
