//! Networks and numbers shared by the tests.
#![allow(dead_code)] // each test program uses some of these

use groundstate_nn::{Activation, LastLayer, Layer, Network, Node, Parameters};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) fn conv(
    input: usize,
    out_channels: usize,
    kernel: usize,
    stride: usize,
    activation: Activation,
) -> Node {
    Node {
        layer: Layer::Conv { out_channels, kernel, stride, activation, standardise: false },
        inputs: vec![input],
    }
}

pub(crate) fn standardised(mut node: Node) -> Node {
    if let Layer::Conv { standardise, .. } = &mut node.layer {
        *standardise = true;
    }
    node
}

pub(crate) fn node(layer: Layer, inputs: &[usize]) -> Node {
    Node { layer, inputs: inputs.to_vec() }
}

pub(crate) fn image(channels: usize) -> Node {
    node(Layer::Image { channels }, &[])
}

pub(crate) fn network(nodes: Vec<Node>) -> Network {
    Network::new(nodes).expect("a network for tests keeps the rules")
}

/// Picture → `layer` → 1×1 to one channel.
pub(crate) fn single(channels: usize, layer: Node) -> Network {
    network(vec![image(channels), layer, conv(1, 1, 1, 1, Activation::Silu)])
}

/// Every layer, every kernel, every activation; nodes read twice; a U-shape with a skip.
pub(crate) fn everything(width: usize) -> Network {
    use Activation::{Identity, LeakyRelu, Silu};
    network(vec![
        image(3),
        node(Layer::Coordinates, &[]),
        node(Layer::NoiseLevel, &[]),
        node(Layer::Concat, &[0, 1, 2]),
        conv(3, width, 3, 1, Silu),
        standardised(conv(4, width + 3, 4, 2, Silu)),
        conv(5, width + 3, 3, 1, LeakyRelu),
        node(Layer::Add, &[5, 6]),
        standardised(conv(7, 2 * width, 3, 2, Silu)),
        conv(8, width, 1, 1, Identity),
        node(Layer::Upsample, &[9]),
        node(Layer::AveragePool, &[4]),
        node(Layer::Concat, &[10, 7, 11]),
        conv(12, width, 3, 1, Silu),
        conv(13, 1, 1, 1, Identity),
    ])
}

pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

pub(crate) fn numbers_f32(count: usize, seed: u64) -> Vec<f32> {
    numbers(count, seed).into_iter().map(|v| v as f32).collect()
}

/// Random weights, biases and gains, none of them zero.
pub(crate) fn parameters(network: &Network, seed: u64) -> Parameters {
    let mut parameters = Parameters::initialise_with(network, seed, LastLayer::Random);
    for (i, (name, _, values)) in parameters.iter_mut().enumerate() {
        if name.ends_with("bias") {
            let draws = numbers_f32(values.len(), seed + 1000 + i as u64);
            values.iter_mut().zip(draws).for_each(|(v, d)| *v = 0.3 * d);
        }
        if name.ends_with("gain") {
            let draws = numbers_f32(values.len(), seed + 1000 + i as u64);
            values.iter_mut().zip(draws).for_each(|(v, d)| *v *= 1.0 + 0.3 * d);
        }
    }
    parameters
}
