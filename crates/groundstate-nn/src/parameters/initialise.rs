//! Random starting values that keep the spread of activations from layer to layer.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::Parameters;
use crate::layer::{Activation, Layer};
use crate::network::Network;

/// How the convolution that yields the energy map starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastLayer {
    /// All energies start at exactly 0: what a learned energy on top of a reference energy needs.
    #[default]
    Zero,
    /// Random like the other layers.
    Random,
}

impl Parameters {
    /// Starting values, the same for the same seed on every machine, with energies that start at 0; see
    /// [`Parameters::initialise_with`].
    pub fn initialise(network: &Network, seed: u64) -> Parameters {
        Self::initialise_with(network, seed, LastLayer::Zero)
    }

    /// Starting values.
    ///
    /// Weights are normal with mean 0 and variance 1/(fan_in · m₂), m₂ being the mean square that the input
    /// would have if every pre-activation were standard normal (He et al. 2015, for any activation; for SiLU
    /// m₂ = 0.3557). Standardised layers do not keep that scale, so theirs is in the gain, 1/√v with v the
    /// input's variance (for SiLU 1.787; Brock et al. 2021 sampled 1.7881). Biases are 0. With
    /// [`LastLayer::Zero`] the convolutions that yield the energy map get zero weights, or a zero gain
    /// where they are standardised.
    pub fn initialise_with(network: &Network, seed: u64, last: LastLayer) -> Parameters {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut parameters = Parameters::zeros(network);
        let moments = moments(network);
        let yields_energy = yields_energy(network);
        let places = network.conv_tensors();
        for (index, node) in network.nodes().iter().enumerate() {
            let Some(place) = places[index] else { continue };
            let input = moments[node.inputs[0]];
            let zero = last == LastLayer::Zero && yields_energy[index];
            let weight = &mut parameters.tensors[place.weight];
            let fan_in: usize = weight.shape[..3].iter().product();
            let spread = 1.0 / (fan_in as f32 * input.square).sqrt();
            for w in &mut weight.data {
                let draw: f32 = StandardNormal.sample(&mut random);
                *w = if zero && place.gain.is_none() { 0.0 } else { spread * draw };
            }
            if let Some(gain) = place.gain {
                parameters.tensors[gain].data.fill(if zero { 0.0 } else { 1.0 / input.variance.sqrt() });
            }
        }
        parameters
    }
}

/// Mean square and variance of a value.
#[derive(Clone, Copy)]
struct Moments {
    square: f32,
    variance: f32,
}

/// What each node's output would have if every pre-activation were standard normal and the picture too.
fn moments(network: &Network) -> Vec<Moments> {
    let mut moments: Vec<Moments> = Vec::new();
    for node in network.nodes() {
        let channels = |i: usize| network.channels()[i] as f32;
        let sum = |weight: &dyn Fn(usize) -> f32| Moments {
            square: node.inputs.iter().map(|&i| weight(i) * moments[i].square).sum(),
            variance: node.inputs.iter().map(|&i| weight(i) * moments[i].variance).sum(),
        };
        let value = match &node.layer {
            Layer::Image { .. } | Layer::NoiseLevel => Moments { square: 1.0, variance: 1.0 },
            Layer::Coordinates => Moments { square: 1.0 / 3.0, variance: 1.0 / 3.0 },
            Layer::Conv { activation, .. } => match activation {
                Activation::Identity => Moments { square: 1.0, variance: 1.0 },
                // E f² and Var f for z ~ N(0, 1), by numerical integration.
                Activation::Silu => Moments { square: 0.355_776, variance: 0.313_083 },
                // (1 + s²)/2, and that less ((1 − s)/√(2π))², for slope s = 0.2.
                Activation::LeakyRelu => Moments { square: 0.52, variance: 0.418_141 },
            },
            Layer::Upsample | Layer::AveragePool => moments[node.inputs[0]],
            Layer::Concat => {
                let all: f32 = node.inputs.iter().map(|&i| channels(i)).sum();
                sum(&|i| channels(i) / all)
            }
            Layer::Add => sum(&|_| 1.0),
        };
        moments.push(value);
    }
    moments
}

/// Whether a node is the energy map, or feeds it without another convolution between.
fn yields_energy(network: &Network) -> Vec<bool> {
    let mut yields = vec![false; network.nodes().len()];
    *yields.last_mut().expect("a network has a last node") = true;
    for (index, node) in network.nodes().iter().enumerate().rev() {
        if yields[index] && !matches!(node.layer, Layer::Conv { .. }) {
            node.inputs.iter().for_each(|&i| yields[i] = true);
        }
    }
    yields
}
