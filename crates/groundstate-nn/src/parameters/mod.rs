//! The learned numbers of a network, as named tensors; gradients and moments have the same form.

mod initialise;
mod load;

pub use initialise::LastLayer;
pub use load::ParametersError;

use rayon::iter::{
    IndexedParallelIterator, IntoParallelRefIterator, IntoParallelRefMutIterator, ParallelIterator,
};
use rayon::slice::{ParallelSlice, ParallelSliceMut};
use serde::{Deserialize, Serialize};

use crate::kernels::{Backend, Task};
use crate::layer::Layer;
use crate::network::Network;
use crate::simd::Simd;

/// Numbers that one thread works on at a time: some ten microseconds.
pub(crate) const SHARE: usize = 1 << 14;

/// One named array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f32>,
}

/// Every learned tensor of a network, in the order of its nodes.
///
/// # Shapes
/// For the convolution at node `i`: `conv{i}.weight` of shape `kernel, kernel, in, out` (out fastest),
/// `conv{i}.bias` of shape `out`, and, with standardised weights, `conv{i}.gain` of shape `out`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    pub(crate) tensors: Vec<Tensor>,
}

/// Where the tensors of one convolution are in [`Parameters`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvTensors {
    pub(crate) weight: usize,
    pub(crate) bias: usize,
    pub(crate) gain: Option<usize>,
}

impl Network {
    /// Name and shape of each parameter tensor, in order; see [`Parameters`].
    pub fn parameter_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = Vec::new();
        for (index, node) in self.nodes().iter().enumerate() {
            if let Layer::Conv { out_channels, kernel, standardise, .. } = node.layer {
                let input = self.channels()[node.inputs[0]];
                shapes.push((format!("conv{index}.weight"), vec![kernel, kernel, input, out_channels]));
                shapes.push((format!("conv{index}.bias"), vec![out_channels]));
                if standardise {
                    shapes.push((format!("conv{index}.gain"), vec![out_channels]));
                }
            }
        }
        shapes
    }

    /// How many numbers are learned.
    pub fn parameter_count(&self) -> usize {
        self.parameter_shapes().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// For each node, where its tensors are; `None` for nodes without any.
    pub(crate) fn conv_tensors(&self) -> Vec<Option<ConvTensors>> {
        let mut next = 0;
        let place = |node: &crate::layer::Node| match node.layer {
            Layer::Conv { standardise, .. } => {
                let weight = next;
                next += 2 + usize::from(standardise);
                Some(ConvTensors { weight, bias: weight + 1, gain: standardise.then_some(weight + 2) })
            }
            _ => None,
        };
        self.nodes().iter().map(place).collect()
    }
}

impl Parameters {
    /// Tensors of the right names and shapes, all zero: what gradients start from.
    pub fn zeros(network: &Network) -> Parameters {
        let tensor = |(name, shape): (String, Vec<usize>)| {
            let data = vec![0.0; shape.iter().product()];
            Tensor { name, shape, data }
        };
        Parameters { tensors: network.parameter_shapes().into_iter().map(tensor).collect() }
    }

    /// Zeros in the form of these parameters.
    pub fn zeros_like(&self) -> Parameters {
        let mut zeros = self.clone();
        zeros.set_zero();
        zeros
    }

    /// Name, shape and values of each tensor, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[usize], &[f32])> {
        self.tensors.iter().map(|t| (t.name.as_str(), t.shape.as_slice(), t.data.as_slice()))
    }

    /// Name, shape and changeable values of each tensor, in order.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&str, &[usize], &mut [f32])> {
        self.tensors.iter_mut().map(|t| (t.name.as_str(), t.shape.as_slice(), t.data.as_mut_slice()))
    }

    /// How many numbers there are.
    pub fn count(&self) -> usize {
        self.tensors.iter().map(|t| t.data.len()).sum()
    }

    /// Whether both have the same names and shapes in the same order.
    pub fn same_form(&self, other: &Parameters) -> bool {
        let mut pairs = self.tensors.iter().zip(&other.tensors);
        self.tensors.len() == other.tensors.len()
            && pairs.all(|(a, b)| a.name == b.name && a.shape == b.shape)
    }

    /// Sets every number to 0.
    pub fn set_zero(&mut self) {
        self.tensors.par_iter_mut().for_each(|t| t.data.fill(0.0));
    }

    /// Multiplies every number by `factor`.
    pub fn scale(&mut self, factor: f32) {
        self.tensors.par_iter_mut().for_each(|t| t.data.iter_mut().for_each(|v| *v *= factor));
    }

    /// Adds `factor · other`.
    ///
    /// # Panics
    /// When the two do not have the same form.
    pub fn axpy(&mut self, factor: f32, other: &Parameters) {
        self.zip_mut(other, |value, &other| *value += factor * other);
    }

    /// Euclidean norm over all tensors, summed in double precision.
    pub fn l2_norm(&self) -> f64 {
        let squares = |tensor: &Tensor| Backend::detect().run(Squares(&tensor.data));
        let sums: Vec<f64> = self.tensors.par_iter().map(squares).collect();
        sums.iter().sum::<f64>().sqrt()
    }

    /// Shrinks all numbers by one factor so that their norm is at most `limit`; returns the norm before.
    ///
    /// A norm that is not finite changes nothing, so that the caller can see it and skip the step.
    pub fn clip(&mut self, limit: f64) -> f64 {
        let norm = self.l2_norm();
        if norm.is_finite() && norm > limit {
            self.scale((limit / norm) as f32);
        }
        norm
    }

    /// Whether no number is infinite or not a number.
    pub fn is_finite(&self) -> bool {
        self.tensors.iter().flat_map(|t| &t.data).all(|v| v.is_finite())
    }

    /// Calls `f` for each number and its counterpart, on all threads.
    ///
    /// # Panics
    /// When the two do not have the same form.
    pub(crate) fn zip_mut(&mut self, other: &Parameters, f: impl Fn(&mut f32, &f32) + Sync) {
        assert_eq!(self.tensors.len(), other.tensors.len(), "parameters of two different networks");
        self.tensors.par_iter_mut().zip(&other.tensors).for_each(|(a, b)| {
            assert_eq!(a.shape, b.shape, "parameters of two different networks, at {}", a.name);
            a.data.par_chunks_mut(SHARE).zip(b.data.par_chunks(SHARE)).for_each(|(a, b)| {
                a.iter_mut().zip(b).for_each(|(a, b)| f(a, b));
            });
        });
    }
}

/// The sum of squares: eight sums in turn, as one alone would wait for each addition.
struct Squares<'a>(&'a [f32]);

impl Task for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f64 {
        let mut sums = [0f64; 8];
        let (whole, rest) = self.0.as_chunks::<8>();
        for values in whole {
            sums.iter_mut().zip(values).for_each(|(s, &v)| *s += f64::from(v) * f64::from(v));
        }
        sums.iter_mut().zip(rest).for_each(|(s, &v)| *s += f64::from(v) * f64::from(v));
        sums.iter().sum()
    }
}
