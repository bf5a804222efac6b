//! Layers and kernels of small convolutional energy networks, on the CPU.
//!
//! A [`Network`] is a list of [`Layer`]s that maps a picture to a map of local energies e(u, v). It is data:
//! the same list is checked, counted, serialised, run and differentiated. There is no tape. An [`Executor`]
//! runs it in f32 on batches of one size:
//!
//! | method | computes |
//! |---|---|
//! | [`forward`](Executor::forward) | the energy map e |
//! | [`input_gradient`](Executor::input_gradient) | ∂(Σ p·e)/∂x, for weights p of the local energies |
//! | [`parameter_gradient`](Executor::parameter_gradient) | ∂(Σ p·e)/∂θ |
//! | [`second_order`](Executor::second_order) | ∂/∂θ of v·∂(Σ p·e)/∂x, as score matching needs |
//!
//! The kernels are hand-written, compiled for several instruction sets and chosen at run time
//! ([`Backend`]). Results do not depend on the number of threads, and an image's energies and input gradient
//! do not depend on the other images of its batch, bit for bit. [`plain`] has the same operations as simple
//! loops, in f32 or f64: the definition that the fast ones are tested against.
//!
//! # Shapes
//! Pictures are `n, h, w, c` and energy maps `n, h′, w′`, rows from the top, channels fastest.
//!
//! | layer | output of an `h, w, c` input |
//! |---|---|
//! | [`Image`](Layer::Image), [`Coordinates`](Layer::Coordinates), [`NoiseLevel`](Layer::NoiseLevel) | `h, w` of the picture; its channels, 2, 1 |
//! | [`Conv`](Layer::Conv) 1×1 or 3×3, stride 1 | `h, w, out` |
//! | [`Conv`](Layer::Conv) 3×3, stride 2 | `⌈h/2⌉, ⌈w/2⌉, out` |
//! | [`Conv`](Layer::Conv) 4×4, stride 2 | `⌊h/2⌋, ⌊w/2⌋, out` |
//! | [`Upsample`](Layer::Upsample), [`AveragePool`](Layer::AveragePool) | `2h, 2w, c`; `⌊h/2⌋, ⌊w/2⌋, c` |
//! | [`Concat`](Layer::Concat), [`Add`](Layer::Add) | `h, w`, the sum of all inputs' channels; `h, w, c` |
//!
//! # Examples
//! One step of training: pull the energy of a batch down, and keep it near 0.
//! ```
//! use groundstate_nn::{Activation, AdamW, AdamWSettings, Executor, Layer, Network, Node, Parameters};
//!
//! let conv = |input, out_channels, kernel, stride, activation| Node {
//!     layer: Layer::Conv { out_channels, kernel, stride, activation, standardise: false },
//!     inputs: vec![input],
//! };
//! let network = Network::new(vec![
//!     Node { layer: Layer::Image { channels: 3 }, inputs: vec![] },
//!     conv(0, 16, 3, 1, Activation::Silu),
//!     conv(1, 32, 4, 2, Activation::Silu),
//!     conv(2, 1, 1, 1, Activation::Identity),
//! ])?;
//! let mut parameters = Parameters::initialise(&network, 7);
//! let mut adamw = AdamW::new(AdamWSettings::default(), &parameters)?;
//! let mut executor = Executor::new(&network, 4, 32, 32)?;
//!
//! executor.load(&parameters);
//! let pictures = vec![0.5; 4 * 32 * 32 * 3];
//! let energies = executor.forward(&pictures, &[]);
//! assert!(energies.iter().all(|&e| e == 0.0)); // the last layer starts at zero
//! // The derivative of the loss Σ (e + e²/2).
//! let weights: Vec<f32> = energies.iter().map(|e| 1.0 + e).collect();
//! let mut gradient = parameters.zeros_like();
//! executor.parameter_gradient(&weights, &mut gradient);
//! adamw.step(&mut parameters, &gradient, 1e-3);
//!
//! executor.load(&parameters);
//! let energies = executor.forward(&pictures, &[]);
//! assert!(energies.iter().sum::<f32>() < 0.0);
//! let gradient_map = executor.input_gradient(&vec![1.0; 4 * 16 * 16]);
//! assert_eq!(gradient_map.len(), pictures.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod buffer;
mod executor;
mod kernels;
mod layer;
mod linear;
mod network;
mod optimiser;
mod parameters;
pub mod plain;
mod pyramid;
mod real;
mod simd;

pub use executor::{Executor, ExecutorOptions, Purpose};
pub use kernels::Backend;
pub use layer::{Activation, LEAKY_SLOPE, Layer, Node};
pub use linear::{Quantised, Strided, lower_lengths, quantise, quantise_lower};
pub use network::{MAX_CHANNELS, MAX_SIDE, Network, NetworkError};
pub use optimiser::{AdamW, AdamWSettings, OptimiserError, Schedule, WeightAverage};
pub use parameters::{LastLayer, Parameters, ParametersError};
pub use pyramid::{Features, Pyramid};
