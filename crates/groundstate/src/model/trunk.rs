//! Inner layers of a trained network as features: what it looks at before it decides.
//!
//! A network that tells normal pictures from corrupted ones knows what surfaces and edges are made of, also where
//! it sees nothing wrong; a density of its features finds more than its decision does (Li et al. 2021,
//! *CutPaste*, section 3.2).

use groundstate_nn::{Activation, Layer, Network, Node, Parameters};

use super::gaussian::Projection;
use super::{Batch, Learned};

/// Strides of the layers that are looked at.
const STRIDES: [usize; 3] = [4, 8, 16];
/// Edge of a cell in pixels: where the layers are brought together.
const CELL_PX: usize = 8;

/// The encoder of a network up to its layer at 1/16 of the resolution, followed by a projection of what it has at
/// 1/4, 1/8 and 1/16: k features for every cell of 8 pixels.
#[derive(Clone, Debug)]
pub(crate) struct Trunk(Learned);

impl Trunk {
    /// All features of the layers, as they are; `None` for a network without layers of these strides.
    pub(super) fn of(learned: &Learned) -> Option<Self> {
        let layers = layers(&learned.network)?;
        let nodes = learned.network.nodes();
        let mut trunk = nodes[..=*layers.iter().max()?].to_vec();
        let mut inputs = Vec::new();
        let mut dimensions = 0;
        for layer in layers {
            dimensions += learned.network.channels()[layer];
            inputs.push(match learned.network.stride(layer) {
                0..CELL_PX => push(&mut trunk, Layer::AveragePool, vec![layer]),
                CELL_PX => layer,
                _ => push(&mut trunk, Layer::Upsample, vec![layer]),
            });
        }
        let both = push(&mut trunk, Layer::Concat, inputs);
        push(&mut trunk, projection(dimensions), vec![both]);
        let network = Network::new(trunk).ok()?;
        let mut parameters = Parameters::zeros(&network);
        for (name, _, values) in parameters.iter_mut() {
            if let Some((_, _, known)) = learned.parameters.iter().find(|(known, ..)| *known == name) {
                values.copy_from_slice(known);
            }
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
        let fits = learned.network.total_stride() == CELL_PX && learned.noise_level.is_none();
        fits.then_some(Self(learned))
    }

    /// Edge of a cell in pixels.
    pub(super) fn cell_px(&self) -> usize {
        CELL_PX
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
fn layers(network: &Network) -> Option<[usize; STRIDES.len()]> {
    let up = network.nodes().iter().position(|node| node.layer == Layer::Upsample)?;
    let last = |stride: usize| (0..up).rfind(|&node| network.stride(node) == stride);
    let layers = STRIDES.map(last);
    layers.iter().all(Option::is_some).then(|| layers.map(Option::unwrap_or_default))
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

    use super::super::NetworkConfig;
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
        let all = Trunk::of(&learned()).unwrap();
        assert_eq!(all.dimensions(), 4 + 6 + 8);
        let features = all.features(&batch());
        let projection = Projection::principal(&features, all.dimensions(), 5);
        let projected = all.projected(&projection).features(&batch());
        assert_eq!(projected[0].len(), 8 * 8 * 5);
        for (seen, all) in projected
            .iter()
            .flat_map(|p| p.chunks_exact(5))
            .zip(features.iter().flat_map(|f| f.chunks_exact(18)))
        {
            for (seen, axis) in seen.iter().zip(projection.matrix.chunks_exact(18)) {
                let expected: f32 =
                    axis.iter().zip(all).zip(&projection.centre).map(|((a, f), c)| a * (f - c)).sum();
                assert!((seen - expected).abs() < 1e-3 * (1.0 + expected.abs()), "{seen} {expected}");
            }
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let (trunk, batch) = (Trunk::of(&learned()).unwrap(), batch());
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
