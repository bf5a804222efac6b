//! The learned energy: a convolutional network whose output is the map of local energies.

use std::sync::Mutex;

use groundstate_nn::{
    Activation, Executor, ExecutorOptions, Layer, Network, NetworkError, Node, Parameters, Purpose,
};
use serde::{Deserialize, Serialize};

use super::{Batch, Energy, Evaluated, Wanted};
use crate::image::Map;

/// Pictures that go through the network at once when it is read, and pixels: of large ones fewer.
const READING_BATCH: usize = 2;
const READING_PIXELS: usize = READING_BATCH * 320 * 320;

/// Size of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Channels at half resolution; deeper stages have 2, 3, 4 and 4 times as many.
    pub width: usize,
    /// Whether the network sees where in the picture it is.
    pub coordinates: bool,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self { width: 16, coordinates: true }
    }
}

impl NetworkConfig {
    /// Edges of pictures must be multiples of this many pixels.
    pub const SIZE_MULTIPLE: usize = 32;

    /// The network: five strided stages down to 1/32, three up again with skip connections, local
    /// energies at 1/4 of the resolution.
    ///
    /// Convolutions are weight-standardised and followed by SiLU; there is no normalisation of
    /// activations, so a local energy depends on its receptive field and on nothing else.
    ///
    /// # Errors
    /// When the width is 0 or beyond what the engine takes.
    pub fn network(&self, channels: usize, takes_noise_level: bool) -> Result<Network, NetworkError> {
        let mut nodes = vec![Node { layer: Layer::Image { channels }, inputs: vec![] }];
        let mut inputs = vec![0];
        if self.coordinates {
            inputs.push(push(&mut nodes, Layer::Coordinates, &[]));
        }
        if takes_noise_level {
            inputs.push(push(&mut nodes, Layer::NoiseLevel, &[]));
        }
        let mut top = if inputs.len() > 1 { push(&mut nodes, Layer::Concat, &inputs) } else { 0 };
        let mut skips = Vec::new();
        for (stage, factor) in [1, 2, 3, 4, 4].into_iter().enumerate() {
            let width = self.width.saturating_mul(factor);
            top = push(&mut nodes, conv(width, 4, 2), &[top]);
            if stage > 0 {
                top = push(&mut nodes, conv(width, 3, 1), &[top]);
                skips.push((top, width));
            }
        }
        skips.pop();
        while let Some((skip, width)) = skips.pop() {
            let up = push(&mut nodes, Layer::Upsample, &[top]);
            let both = push(&mut nodes, Layer::Concat, &[up, skip]);
            top = push(&mut nodes, conv(width, 3, 1), &[both]);
        }
        top = push(&mut nodes, conv(self.width.saturating_mul(2), 3, 1), &[top]);
        let tail = Layer::Conv {
            out_channels: 1,
            kernel: 1,
            stride: 1,
            activation: Activation::Identity,
            standardise: false,
        };
        push(&mut nodes, tail, &[top]);
        Network::new(nodes)
    }
}

fn push(nodes: &mut Vec<Node>, layer: Layer, inputs: &[usize]) -> usize {
    nodes.push(Node { layer, inputs: inputs.to_vec() });
    nodes.len() - 1
}

fn conv(out_channels: usize, kernel: usize, stride: usize) -> Layer {
    Layer::Conv { out_channels, kernel, stride, activation: Activation::Silu, standardise: true }
}

/// A trained network.
#[derive(Debug)]
pub struct Learned {
    /// Its layers.
    pub network: Network,
    /// Its weights.
    pub parameters: Parameters,
    /// The noise level σ at which it is read, for networks that take one.
    pub noise_level: Option<f32>,
    executors: Executors,
}

/// Executors that are kept between calls: tiles of one picture have at most four sizes.
const KEPT_EXECUTORS: usize = 4;

/// Executors for reading, with what they are for, the last used last.
#[derive(Default)]
struct Executors(Mutex<Vec<(Use, Executor)>>);

/// Height and width of pictures, and what is read of them: without a gradient much less is kept of a forward pass.
type Use = (usize, usize, Purpose);

impl std::fmt::Debug for Executors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Executors")
    }
}

impl Clone for Learned {
    fn clone(&self) -> Self {
        Self::new(self.network.clone(), self.parameters.clone(), self.noise_level)
    }
}

impl Learned {
    /// A network with its weights.
    pub fn new(network: Network, parameters: Parameters, noise_level: Option<f32>) -> Self {
        Self { network, parameters, noise_level, executors: Executors::default() }
    }

    /// The same network with `scale · (e − offset)` in place of its local energies e.
    pub(crate) fn rescaled(mut self, scale: f32, offset: f32) -> Self {
        // The last layer is the tail, which is linear: its weights and its bias come last.
        let last = self.parameters.iter().len() - 1;
        for (index, (_, _, values)) in self.parameters.iter_mut().enumerate() {
            if index == last {
                values.iter_mut().for_each(|bias| *bias -= offset);
            }
            if index + 1 >= last {
                values.iter_mut().for_each(|value| *value *= scale);
            }
        }
        Self::new(self.network, self.parameters, self.noise_level)
    }

    /// Runs `work` with an executor for pictures of this size.
    fn with_executor<R>(&self, batch: &Batch, purpose: Purpose, work: impl FnOnce(&mut Executor) -> R) -> R {
        let own = (batch.height, batch.width, purpose);
        let free = || self.executors.0.lock().expect("no holder panics");
        let kept = {
            let mut free = free();
            let fitting = free.iter().position(|(of, _)| *of == own);
            fitting.map(|i| free.remove(i).1)
        };
        let mut executor = kept.unwrap_or_else(|| {
            let options = ExecutorOptions { purpose, ..Default::default() };
            let mut executor = Executor::with_options(
                &self.network,
                reading_batch(batch),
                batch.height,
                batch.width,
                options,
            )
            .expect("preprocessing gives pictures a size that the network takes");
            executor.load(&self.parameters);
            executor
        });
        let result = work(&mut executor);
        let mut free = free();
        if free.len() >= KEPT_EXECUTORS {
            free.remove(0);
        }
        free.push((own, executor));
        result
    }

    fn chunks<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = (&'a [f32], Vec<f32>)> + 'a {
        let length = batch.picture_len();
        batch.values.chunks(reading_batch(batch) * length).map(move |pictures| {
            let levels = self.noise_level.map_or(Vec::new(), |level| vec![level; pictures.len() / length]);
            (pictures, levels)
        })
    }

    fn grid(&self, batch: &Batch) -> (usize, usize) {
        self.network.output_size(batch.height, batch.width).expect("preprocessing chose a size that fits")
    }
}

impl Learned {
    /// What the network computes of every picture: locations × channels.
    pub(super) fn outputs(&self, batch: &Batch) -> Vec<Vec<f32>> {
        let (height, width) = self.grid(batch);
        let length = height * width * self.network.output_channels();
        self.with_executor(batch, Purpose::Energies, |executor| {
            let some = self.chunks(batch);
            some.flat_map(|(pictures, levels)| {
                let outputs = executor.forward(pictures, &levels);
                outputs.chunks_exact(length).map(<[f32]>::to_vec).collect::<Vec<_>>()
            })
            .collect()
        })
    }

    /// The gradient at the pixels of Σ weights · outputs of every picture.
    pub(super) fn pull_back(&self, batch: &Batch, weights: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let mut weights = weights.iter();
        self.with_executor(batch, Purpose::InputGradient, |executor| {
            let some = self.chunks(batch);
            some.flat_map(|(pictures, levels)| {
                executor.forward(pictures, &levels);
                let count = pictures.len() / batch.picture_len();
                let weights: Vec<f32> = weights.by_ref().take(count).flatten().copied().collect();
                let gradients = executor.input_gradient(&weights).chunks_exact(batch.picture_len());
                gradients.map(<[f32]>::to_vec).collect::<Vec<_>>()
            })
            .collect()
        })
    }
}

/// How many pictures of this size go through the network at once.
fn reading_batch(batch: &Batch) -> usize {
    (READING_PIXELS / (batch.width * batch.height)).clamp(1, READING_BATCH)
}

impl Energy for Learned {
    fn stride(&self) -> usize {
        self.network.total_stride()
    }

    fn evaluate(&self, batch: &Batch, wanted: Wanted) -> Vec<Evaluated> {
        let (height, width) = self.grid(batch);
        let purpose = if wanted.gradient { Purpose::InputGradient } else { Purpose::Energies };
        self.with_executor(batch, purpose, |executor| {
            let mut found = Vec::with_capacity(batch.count);
            for (pictures, levels) in self.chunks(batch) {
                let first = found.len();
                found.extend(executor.forward(pictures, &levels).chunks_exact(height * width).map(
                    |values| {
                        let local = Map { width, height, values: values.to_vec() };
                        Evaluated { free: wanted.free.then(|| local.clone()), local, gradient: None }
                    },
                ));
                if wanted.gradient {
                    let ones = vec![1.0; (found.len() - first) * height * width];
                    let gradients = executor.input_gradient(&ones).chunks_exact(batch.picture_len());
                    for (evaluated, gradient) in found[first..].iter_mut().zip(gradients) {
                        evaluated.gradient = Some(gradient.to_vec());
                    }
                }
            }
            found
        })
    }
}

#[cfg(test)]
mod tests {
    use groundstate_nn::LastLayer;

    use super::*;

    fn learned() -> Learned {
        let network = NetworkConfig { width: 2, coordinates: false }.network(1, false).unwrap();
        let parameters = Parameters::initialise_with(&network, 1, LastLayer::Random);
        Learned::new(network, parameters, None)
    }

    fn batch(edge: usize) -> Batch {
        let values = (0..edge * edge).map(|i| (i % 7) as f32 / 7.0).collect();
        Batch { count: 1, height: edge, width: edge, channels: 1, values }
    }

    #[test]
    fn pictures_of_many_sizes_leave_few_executors() {
        let learned = learned();
        let first = learned.local_energies(&batch(32));
        (1..=8).for_each(|n| drop(learned.local_energies(&batch(32 * n))));
        assert_eq!(learned.executors.0.lock().unwrap().len(), KEPT_EXECUTORS);
        assert_eq!(learned.local_energies(&batch(32)), first);
    }

    #[test]
    fn a_rescaled_network_has_rescaled_energies_and_gradients() {
        let (plain, batch) = (learned(), batch(32));
        let rescaled = plain.clone().rescaled(0.5, 3.0);
        let [before, after] = [plain, rescaled].map(|l| l.evaluate(&batch, Wanted::ALL).remove(0));
        for (before, after) in before.local.values.iter().zip(&after.local.values) {
            assert!((0.5 * (before - 3.0) - after).abs() < 1e-5, "{before} {after}");
        }
        for (before, after) in before.gradient.unwrap().iter().zip(after.gradient.unwrap()) {
            assert!((0.5 * before - after).abs() < 1e-5 * (1.0 + before.abs()), "{before} {after}");
        }
    }
}
