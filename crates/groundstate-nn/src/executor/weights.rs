//! Parameters in, gradients out: standardisation, padding and packing around the kernels.

use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};

use super::build::{Convolution, Node, Step};
use super::{Done, Executor};
use crate::kernels::Kernels;
use crate::parameters::{ConvTensors, Parameters};
use crate::standardise::{standardise, standardise_gradient};

impl Executor {
    /// Takes the weights for all that follows; needed before the first `forward` and after each change of
    /// the parameters.
    ///
    /// # Panics
    /// When the parameters are of another network.
    pub fn load(&mut self, parameters: &Parameters) {
        let expected = self.network.parameter_shapes();
        let matches = parameters.iter().len() == expected.len()
            && parameters.iter().zip(&expected).all(|((name, shape, _), e)| name == e.0 && shape == e.1);
        assert!(matches, "parameters of another network");
        let kernels = self.kernels;
        let channels: Vec<usize> = self.nodes.iter().map(|n| n.layout.channels).collect();
        self.nodes.par_iter_mut().for_each(|node| {
            let depth = node.inputs.first().map_or(0, |&i| channels[i]);
            load_node(node, kernels, depth, parameters);
        });
        self.done = Done::Nothing;
        self.loaded = true;
    }

    /// Adds the convolutions' own gradients to those of the parameters: of biases, and of standardised weights
    /// through the standardisation.
    pub(super) fn finish_gradients(&self, gradient: &mut Parameters) {
        for convolution in self.nodes.iter().filter_map(Node::convolution) {
            let Convolution { tensors, stored, d_acting, d_bias, .. } = convolution;
            let to = &mut gradient.tensors[tensors.bias].data;
            to.iter_mut().zip(d_bias).for_each(|(d, &b)| *d += b);
            if let (Some(gain), Some((weight, gains))) = (tensors.gain, stored) {
                let (d_weight, d_gain) = two(&mut gradient.tensors, tensors.weight, gain);
                standardise_gradient(weight, gains, d_acting, &mut d_weight.data, &mut d_gain.data);
            }
        }
    }
}

/// Two different elements.
fn two<T>(items: &mut [T], first: usize, second: usize) -> (&mut T, &mut T) {
    let [a, b] = items.get_disjoint_mut([first, second]).expect("two different tensors");
    (a, b)
}

/// Writes a `depth × out` matrix as columns, into rows `width` apart. Some lines at a time, or they would compete
/// for the same cache sets.
fn transpose(from: &[f32], to: &mut [f32], (depth, out): (usize, usize), width: usize) {
    const LINES: usize = 16;
    for first in (0..depth).step_by(LINES) {
        let lines = LINES.min(depth - first);
        let from = &from[first * out..][..lines * out];
        for (o, to) in to.chunks_exact_mut(width).enumerate() {
            to[first..first + lines].iter_mut().enumerate().for_each(|(c, w)| *w = from[c * out + o]);
        }
    }
}

/// Packs one convolution's weights for both directions.
fn load_node(node: &mut Node, kernels: &Kernels, depth: usize, parameters: &Parameters) {
    let (out, width) = (node.layout.channels, node.layout.stride);
    let Step::Convolution(convolution) = &mut node.step else { return };
    let Convolution {
        tensors,
        forward,
        backward,
        picture,
        bias,
        stored,
        padded,
        transposed,
        input_width,
        d_acting,
        ..
    } = &mut **convolution;
    let ConvTensors { weight, bias: bias_at, gain } = *tensors;
    let weight = &parameters.tensors[weight].data;
    bias.as_mut_slice()[..out].copy_from_slice(&parameters.tensors[bias_at].data);
    let acting: &[f32] = match (gain, stored) {
        (Some(gain), Some((kept, gains))) => {
            kept.copy_from_slice(weight);
            gains.copy_from_slice(&parameters.tensors[gain].data);
            standardise(kept, gains, d_acting);
            d_acting
        }
        _ => weight,
    };
    if width == out {
        forward.pack(kernels, acting, depth);
    } else {
        for (row, padded) in acting.chunks_exact(out).zip(padded.chunks_exact_mut(width)) {
            padded[..out].copy_from_slice(row);
        }
        forward.pack(kernels, padded, depth);
    }
    if let Some(picture) = picture {
        picture.load(kernels, acting);
    }
    if let Some(backward) = backward {
        for (tap, acting) in acting.chunks_exact(depth * out).enumerate() {
            let rows = &mut transposed[tap * out * *input_width..][..out * *input_width];
            transpose(acting, rows, (depth, out), *input_width);
        }
        backward.pack(kernels, transposed, out);
    }
}
