//! Layers and kernels of small convolutional energy networks.
//!
//! A [`Network`] is a list of [`Layer`]s that maps a picture to a map of local energies e(u, v). It is data:
//! the same list is checked, counted, run forward and differentiated. An [`Executor`] runs it on the CPU in
//! f32: energies, their gradient with respect to the picture, their gradient with respect to the
//! [`Parameters`], and the parameter gradient of a directional derivative of the former (second order, for
//! score matching). There is no tape and no graph of operations.

mod buffer;
mod executor;
mod kernels;
mod layer;
mod network;
mod optimiser;
mod parameters;
pub mod plain;
mod real;
mod simd;
mod standardise;

pub use executor::{Executor, ExecutorOptions, Purpose};
pub use kernels::Backend;
pub use layer::{Activation, LEAKY_SLOPE, Layer, Node};
pub use network::{MAX_CHANNELS, MAX_SIDE, Network, NetworkError};
pub use optimiser::{AdamW, AdamWSettings, OptimiserError, Schedule, WeightAverage};
pub use parameters::{LastLayer, Parameters, ParametersError};
