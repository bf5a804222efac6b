//! The plain executor's gradients agree with central differences, in double precision.

mod networks;

use groundstate_nn::plain::{Plain, Tensors};
use groundstate_nn::{Activation, Layer, Network};
use networks::{conv, everything, network, node, numbers, parameters, single, standardised};

/// Half-width of the central differences: their error is of order STEP² plus 1e-16/STEP.
const STEP: f64 = 1e-5;
/// Errors of the differences scaled by third derivatives of at most a few hundred.
const TOLERANCE: f64 = 2e-7;

struct Case {
    network: Network,
    size: (usize, usize),
    images: usize,
}

impl Case {
    fn new(network: Network, height: usize, width: usize) -> Case {
        Case { network, size: (height, width), images: 2 }
    }

    fn picture_len(&self) -> usize {
        self.images * self.size.0 * self.size.1 * self.network.input_channels()
    }

    fn map_len(&self) -> usize {
        let (h, w) = self.network.output_size(self.size.0, self.size.1).unwrap();
        self.images * h * w
    }

    fn levels(&self) -> Vec<f64> {
        if self.network.takes_noise_level() { vec![0.3, -0.7] } else { vec![] }
    }

    fn run<R>(&self, tensors: &Tensors<f64>, f: impl FnOnce(&Plain<'_, f64>) -> R) -> R {
        f(&Plain::new(&self.network, tensors.clone(), self.size.0, self.size.1).unwrap())
    }

    fn energy(&self, tensors: &Tensors<f64>, x: &[f64], de: &[f64]) -> f64 {
        self.run(tensors, |plain| dot(plain.forward(x, &self.levels()).energies(), de))
    }

    /// Σ v·∂(Σ p·e)/∂x + Σ de·e.
    fn directional(&self, tensors: &Tensors<f64>, x: &[f64], v: &[f64], p: &[f64], de: &[f64]) -> f64 {
        self.run(tensors, |plain| {
            let values = plain.forward(x, &self.levels());
            dot(&plain.input_gradient(&values, p), v) + dot(values.energies(), de)
        })
    }

    fn check(&self, name: &str) {
        let tensors = Plain::<f64>::tensors(&parameters(&self.network, 7));
        let x = numbers(self.picture_len(), 1);
        let v = numbers(self.picture_len(), 2);
        let p = numbers(self.map_len(), 3);
        let de = numbers(self.map_len(), 4);
        let (input, first, second) = self.run(&tensors, |plain| {
            let values = plain.forward(&x, &self.levels());
            (
                plain.input_gradient(&values, &de),
                plain.parameter_gradient(&values, &de),
                plain.second_order(&values, &v, &p, &de),
            )
        });
        for i in picks(x.len()) {
            let difference = central(|d| {
                let mut x = x.clone();
                x[i] += d;
                self.energy(&tensors, &x, &de)
            });
            close(input[i], difference, &format!("{name}: input gradient {i}"));
        }
        for t in 0..tensors.len() {
            for i in picks(tensors[t].len()) {
                let moved = |d: f64| {
                    let mut moved = tensors.clone();
                    moved[t][i] += d;
                    moved
                };
                let difference = central(|d| self.energy(&moved(d), &x, &de));
                close(first[t][i], difference, &format!("{name}: parameter gradient {t}, {i}"));
                let difference = central(|d| self.directional(&moved(d), &x, &v, &p, &de));
                close(second[t][i], difference, &format!("{name}: second order {t}, {i}"));
            }
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn central(f: impl Fn(f64) -> f64) -> f64 {
    (f(STEP) - f(-STEP)) / (2.0 * STEP)
}

/// At most a dozen indices, spread over the array.
fn picks(len: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by(len.div_ceil(12).max(1))
}

fn close(found: f64, expected: f64, what: &str) {
    let error = (found - expected).abs();
    assert!(error <= TOLERANCE * (1.0 + expected.abs()), "{what}: {found} but differences give {expected}");
}

#[test]
fn gradients_of_each_convolution_match_differences() {
    for activation in [Activation::Identity, Activation::Silu, Activation::LeakyRelu] {
        for (kernel, stride) in [(1, 1), (3, 1), (3, 2), (4, 2)] {
            let layer = conv(0, 3, kernel, stride, activation);
            let name = format!("{kernel}×{kernel} stride {stride} {activation:?}");
            Case::new(single(2, layer.clone()), 5, 4).check(&name);
            Case::new(single(2, standardised(layer)), 4, 5).check(&format!("{name} standardised"));
        }
    }
}

#[test]
fn gradients_of_layers_without_parameters_match_differences() {
    for (layer, height, width) in [(Layer::AveragePool, 5, 4), (Layer::Add, 3, 4), (Layer::Concat, 3, 4)] {
        let nodes = vec![
            networks::image(2),
            conv(0, 2, 3, 1, Activation::Silu),
            node(layer.clone(), if layer == Layer::AveragePool { &[1] } else { &[0, 1] }),
            conv(2, 1, 3, 1, Activation::Silu),
        ];
        Case::new(network(nodes), height, width).check(layer.name());
    }
    let nodes = vec![
        networks::image(2),
        conv(0, 2, 3, 2, Activation::Silu),
        node(Layer::Upsample, &[1]),
        conv(2, 1, 3, 1, Activation::Silu),
    ];
    Case::new(network(nodes), 4, 6).check("upsample");
}

#[test]
fn gradients_of_a_network_with_every_layer_match_differences() {
    Case::new(everything(3), 8, 12).check("everything");
}
