//! The readable executor: plain loops in f32 or f64, one allocation per array, one thread.
//!
//! It defines what the fast [`Executor`](crate::Executor) must compute and is what that is tested against;
//! in f64 it is itself tested against finite differences. It refuses to be fast.

mod backward;
mod convolution;
mod fit;
mod forward;
pub(crate) mod plane;
mod pyramid;
mod standardise;

pub use crate::real::Real;
pub use pyramid::Pyramid;

use standardise::{standardise, standardise_gradient};

use crate::layer::Activation;
use crate::layer::LEAKY_SLOPE;
use crate::network::{Network, NetworkError};
use crate::parameters::Parameters;

/// One array per parameter tensor, in the order of [`Parameters`].
pub type Tensors<T> = Vec<Vec<T>>;

/// A network with weights and a picture size. Methods are stateless: each says what it computes from.
pub struct Plain<'a, T> {
    network: &'a Network,
    sizes: Vec<(usize, usize)>,
    /// Stored parameters.
    stored: Tensors<T>,
    /// The same, weights standardised where the layer says so.
    acting: Tensors<T>,
}

/// What a forward pass leaves behind.
pub struct Values<T> {
    images: usize,
    /// Each node's output, `n, h, w, c`.
    value: Vec<Vec<T>>,
    /// f′ at each convolution's pre-activation; empty for other nodes.
    slope: Vec<Vec<T>>,
    /// f″ there.
    curvature: Vec<Vec<T>>,
}

impl<T> Values<T> {
    /// The energy map, `n, h′, w′`.
    pub fn energies(&self) -> &[T] {
        self.value.last().expect("a network has a last node")
    }
}

/// f, f′ and f″ at z.
pub(crate) fn activate<T: Real>(activation: Activation, z: T) -> (T, T, T) {
    match activation {
        Activation::Identity => (z, T::ONE, T::ZERO),
        Activation::Silu => {
            let s = T::ONE / (T::ONE + (-z).exp());
            let a = z * s;
            let slope = s + a * (T::ONE - s);
            let two = T::ONE + T::ONE;
            (a, slope, s * (T::ONE - s) * (two + z * (T::ONE - two * s)))
        }
        Activation::LeakyRelu => {
            let slope = if z < T::ZERO { T::from_f64(f64::from(LEAKY_SLOPE)) } else { T::ONE };
            (z * slope, slope, T::ZERO)
        }
    }
}

impl<'a, T: Real> Plain<'a, T> {
    /// Takes weights in any precision.
    ///
    /// # Errors
    /// When a `height`×`width` picture does not fit the network.
    ///
    /// # Panics
    /// When `parameters` do not have the network's tensor sizes.
    pub fn new(
        network: &'a Network,
        parameters: Tensors<T>,
        height: usize,
        width: usize,
    ) -> Result<Self, NetworkError> {
        let sizes = network.sizes(height, width)?;
        let lengths: Vec<usize> =
            network.parameter_shapes().iter().map(|(_, s)| s.iter().product()).collect();
        let found: Vec<usize> = parameters.iter().map(Vec::len).collect();
        assert_eq!(found, lengths, "parameters of another network");
        let mut acting = parameters.clone();
        for place in network.conv_tensors().into_iter().flatten() {
            if let Some(gain) = place.gain {
                standardise(&parameters[place.weight], &parameters[gain], &mut acting[place.weight]);
            }
        }
        Ok(Plain { network, sizes, stored: parameters, acting })
    }

    /// The tensors of `parameters` in precision `T`.
    pub fn tensors(parameters: &Parameters) -> Tensors<T> {
        let convert = |values: &[f32]| values.iter().map(|&v| T::from_f64(f64::from(v))).collect();
        parameters.iter().map(|(_, _, values)| convert(values)).collect()
    }

    /// Gradients of the stored parameters from those of the acting ones.
    fn stored_gradient(&self, acting: Tensors<T>) -> Tensors<T> {
        let mut gradient = acting.clone();
        for place in self.network.conv_tensors().into_iter().flatten() {
            if let Some(gain) = place.gain {
                let (weight, gains) = (&self.stored[place.weight], &self.stored[gain]);
                (gradient[place.weight], gradient[gain]) =
                    standardise_gradient(weight, gains, &acting[place.weight]);
            }
        }
        gradient
    }
}
