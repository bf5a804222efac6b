//! Starting values that fit the data.

use super::{Plain, Values, activate};
use crate::layer::Layer;
use crate::network::{Network, NetworkError};
use crate::parameters::Parameters;

/// Keeps a channel that is constant on the data from being blown up.
const LEAST_SPREAD: f64 = 1e-3;

impl Parameters {
    /// Rescales starting values so that every pre-activation has mean 0 and spread 1, channel by channel,
    /// on the given pictures (Salimans & Kingma 2016, §3).
    ///
    /// Pictures have means, and contrasts far below 1: without this, activations stay in the linear part of
    /// their functions and a deep network learns next to nothing for hundreds of steps. Layers whose weights
    /// or gains are all zero are left alone, so an energy that starts at zero still does.
    ///
    /// # Shapes
    /// `x`: `n, height, width, c`; `noise_levels`: `n`, or empty when the network takes none.
    ///
    /// # Errors
    /// When a picture of this size does not fit the network.
    ///
    /// # Panics
    /// When a length is not as above or the parameters are of another network.
    pub fn fit(
        &mut self,
        network: &Network,
        x: &[f32],
        noise_levels: &[f32],
        height: usize,
        width: usize,
    ) -> Result<(), NetworkError> {
        let images = x.len() / (height * width * network.input_channels());
        let mut values: Vec<Vec<f32>> = Vec::new();
        for (index, node) in network.nodes().iter().enumerate() {
            // Weights of earlier layers have changed, those of this one have not.
            let plain = Plain::<f32>::new(network, Plain::tensors(self), height, width)?;
            let Layer::Conv { activation, out_channels, .. } = node.layer else {
                values.push(plain.unweighted(index, x, noise_levels, images, &values));
                continue;
            };
            let place = network.conv_tensors()[index].expect("a convolution has tensors");
            let mut z =
                plain.shape(index, images).forward(&values[node.inputs[0]], &plain.acting[place.weight]);
            let scaled = place.gain.unwrap_or(place.weight);
            for channel in 0..out_channels {
                let (mean, spread) = moments(&z, out_channels, channel);
                let factor = (1.0 / spread) as f32;
                if spread < LEAST_SPREAD {
                    continue;
                }
                let bias = (-mean / spread) as f32;
                for value in z.iter_mut().skip(channel).step_by(out_channels) {
                    *value = *value * factor + bias;
                }
                for weight in self.tensors[scaled].data.iter_mut().skip(channel).step_by(out_channels) {
                    *weight *= factor;
                }
                self.tensors[place.bias].data[channel] = bias;
            }
            z.iter_mut().for_each(|z| *z = activate(activation, *z).0);
            values.push(z);
        }
        Ok(())
    }
}

/// Mean and spread of one channel.
fn moments(z: &[f32], channels: usize, channel: usize) -> (f64, f64) {
    let column = || z.iter().skip(channel).step_by(channels).map(|&v| f64::from(v));
    let n = (z.len() / channels) as f64;
    let mean = column().sum::<f64>() / n;
    (mean, (column().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt())
}

impl Values<f32> {
    #[cfg(test)]
    fn of(&self, node: usize) -> &[f32] {
        &self.value[node]
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::layer::{Activation, Node};
    use crate::parameters::LastLayer;

    #[test]
    fn pre_activations_have_mean_zero_and_spread_one_on_the_data() {
        let conv = |out_channels, standardise| Layer::Conv {
            out_channels,
            kernel: 3,
            stride: 1,
            activation: Activation::Identity,
            standardise,
        };
        let node = |layer, inputs: &[usize]| Node { layer, inputs: inputs.to_vec() };
        let network = Network::new(vec![
            node(Layer::Image { channels: 2 }, &[]),
            node(conv(5, true), &[0]),
            node(conv(4, false), &[1]),
            node(conv(1, false), &[2]),
        ])
        .unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let x: Vec<f32> = (0..3 * 8 * 6 * 2).map(|_| 0.7 + 0.05 * random.random::<f32>()).collect();
        let mut parameters = Parameters::initialise_with(&network, 1, LastLayer::Random);
        parameters.fit(&network, &x, &[], 8, 6).unwrap();
        let values = Plain::<f32>::new(&network, Plain::tensors(&parameters), 8, 6).unwrap().forward(&x, &[]);
        for (index, channels) in [(1, 5), (2, 4), (3, 1)] {
            for channel in 0..channels {
                let (mean, spread) = moments(values.of(index), channels, channel);
                assert!(
                    mean.abs() < 1e-3 && (spread - 1.0).abs() < 1e-3,
                    "{index} {channel}: {mean} {spread}"
                );
            }
        }
    }

    #[test]
    fn an_energy_that_starts_at_zero_still_does() {
        let nodes = vec![
            Node { layer: Layer::Image { channels: 1 }, inputs: vec![] },
            Node {
                layer: Layer::Conv {
                    out_channels: 1,
                    kernel: 3,
                    stride: 1,
                    activation: Activation::Identity,
                    standardise: false,
                },
                inputs: vec![0],
            },
        ];
        let network = Network::new(nodes).unwrap();
        let mut parameters = Parameters::initialise(&network, 1);
        parameters.fit(&network, &[0.1, 0.9, 0.4, 0.2], &[], 2, 2).unwrap();
        assert!(parameters.iter().all(|(_, _, values)| values.iter().all(|&v| v == 0.0)));
    }
}
