//! Runs a network on batches of pictures of one size, fast.
//!
//! Construction plans every layer and allocates every buffer; after it, nothing is allocated. Work is cut
//! into tasks that depend on the sizes only, so results do not depend on the number of threads, and the
//! energies and input gradients of an image do not depend on the other images, bit for bit.

mod backward;
mod build;
mod convolution;
mod correlation;
mod entry;
mod forward;
mod layout;
mod second_order;
mod standardise;
mod weights;
mod workers;

use std::sync::Arc;

use build::{Node, Step};
use correlation::{CorrelationPlan, Shared};
use weights::Loading;
use workers::{Crew, Workers};

use crate::kernels::{Backend, Kernels};
use crate::network::{Network, NetworkError};
use crate::parameters::Parameters;

/// Values of the images that go through the layers together: what a third-level cache holds beside other
/// programs' data. Which images those are changes no bit of the results.
const GROUP_VALUES: usize = 1 << 21;
/// The same on the way back: slopes come from memory in any case, so that images share the weights instead.
const GROUP_VALUES_BACK: usize = 1 << 23;

/// What an executor must be able to do; each purpose includes those before it. A smaller purpose needs
/// less memory and a little less time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// [`Executor::forward`].
    Energies,
    /// [`Executor::input_gradient`] as well.
    InputGradient,
    /// [`Executor::parameter_gradient`] as well.
    ParameterGradient,
    /// [`Executor::second_order`] as well.
    #[default]
    SecondOrder,
}

/// Choices that do not change what is computed, up to rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecutorOptions {
    /// What the executor is needed for.
    pub purpose: Purpose,
    /// The kernels to use; `None` for the fastest this processor can run.
    pub backend: Option<Backend>,
}

/// A network on up to `batch` pictures of `height`×`width`, with every buffer it needs.
///
/// ```
/// # use groundstate_nn::*;
/// # let network = Network::new(vec![
/// #     Node { layer: Layer::Image { channels: 3 }, inputs: vec![] },
/// #     Node { layer: Layer::Conv { out_channels: 1, kernel: 3, stride: 1, activation: Activation::Silu,
/// #         standardise: false }, inputs: vec![0] },
/// # ]).unwrap();
/// let parameters = Parameters::initialise_with(&network, 1, LastLayer::Random);
/// let mut executor = Executor::new(&network, 2, 16, 16)?;
/// executor.load(&parameters);
/// let energies = executor.forward(&[0.5; 2 * 16 * 16 * 3], &[]).to_vec();
/// let gradient_map = executor.input_gradient(&vec![1.0; energies.len()]);
/// assert_eq!(gradient_map.len(), 2 * 16 * 16 * 3);
/// # Ok::<(), NetworkError>(())
/// ```
pub struct Executor {
    network: Network,
    kernels: &'static Kernels,
    backend: Backend,
    purpose: Purpose,
    batch: usize,
    nodes: Vec<Node>,
    workers: Arc<Workers>,
    loading: Loading,
    shared: Shared,
    /// Images of the last `forward`.
    images: usize,
    /// Those that go through the layers together, forth and back.
    group: usize,
    group_back: usize,
    done: Done,
    loaded: bool,
    energies: Vec<f32>,
    gradient_map: Vec<f32>,
}

/// What the buffers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Done {
    /// Nothing of these weights.
    Nothing,
    /// A forward pass.
    Energies,
    /// And, untouched since, the adjoints of an input gradient.
    InputGradient,
}

impl Executor {
    /// An executor for every purpose, with the fastest kernels this processor can run.
    ///
    /// # Errors
    /// When a picture of this size does not fit the network, or the batch is empty or too large.
    pub fn new(
        network: &Network,
        batch: usize,
        height: usize,
        width: usize,
    ) -> Result<Executor, NetworkError> {
        Self::with_options(network, batch, height, width, ExecutorOptions::default())
    }

    /// An executor with options.
    ///
    /// # Errors
    /// As [`Executor::new`], and when this processor cannot run the backend.
    pub fn with_options(
        network: &Network,
        batch: usize,
        height: usize,
        width: usize,
        options: ExecutorOptions,
    ) -> Result<Executor, NetworkError> {
        let backend = options.backend.unwrap_or_else(Backend::detect);
        let kernels = backend.kernels().ok_or(NetworkError::Backend(backend.name()))?;
        let nodes = build::nodes(network, batch, (height, width), kernels, options)?;
        let scratch = nodes.iter().map(|n| n.scratch(kernels)).max().unwrap_or(0);
        let held = nodes.iter().map(Node::map_len).sum::<usize>() / batch;
        let group = |values: usize| (values / held.max(1)).clamp(1, batch);
        let shared = Shared::new(nodes.iter().filter_map(|n| n.convolution()?.correlation.as_ref()));
        let (map_height, map_width) = network.output_size(height, width)?;
        let gradient = options.purpose >= Purpose::InputGradient;
        let picture = height * width * network.input_channels();
        let loading = Loading::new(&nodes);
        let mut executor = Executor {
            network: network.clone(),
            kernels,
            backend,
            purpose: options.purpose,
            batch,
            nodes,
            workers: Arc::new(Workers::new(scratch)),
            loading,
            shared,
            images: 0,
            group: group(GROUP_VALUES),
            group_back: group(GROUP_VALUES_BACK),
            done: Done::Nothing,
            loaded: false,
            energies: vec![0.0; batch * map_height * map_width * network.output_channels()],
            gradient_map: vec![0.0; if gradient { batch * picture } else { 0 }],
        };
        executor.fill_coordinates();
        Ok(executor)
    }

    /// The network that is run.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Most images in one `forward`.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The kernels in use.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Bytes of all buffers: values and gradients of each node, packed and standardised weights, and scratch for each
    /// thread.
    pub fn memory_bytes(&self) -> usize {
        let nodes: usize = self.nodes.iter().map(Node::len).sum();
        let maps = self.energies.len() + self.gradient_map.len();
        (nodes + self.workers.len() + self.shared.len() + maps) * size_of::<f32>()
    }

    /// Local energies, or features, of the last `forward`.
    ///
    /// # Shapes
    /// `n, h′, w′, c′`, where energies have one channel; empty before the first `forward`.
    pub fn energy_map(&self) -> &[f32] {
        &self.energies[..self.images * self.map_len()]
    }

    /// Result of the last [`input_gradient`](Executor::input_gradient).
    ///
    /// # Shapes
    /// `n, h, w, c`.
    pub fn gradient_map(&self) -> &[f32] {
        &self.gradient_map[..self.images * self.picture_len()]
    }

    /// Local energies, or features.
    ///
    /// # Shapes
    /// `x`: `n, h, w, c` with n ≤ batch; `noise_levels`: `n`, or empty when the network takes none; result:
    /// `n, h′, w′, c′`, where energies have one channel.
    ///
    /// # Panics
    /// Before `load`, or when a length is not as above.
    pub fn forward(&mut self, x: &[f32], noise_levels: &[f32]) -> &[f32] {
        self.together(|this| this.run_forward(x, noise_levels));
        self.energy_map()
    }

    /// ∂(Σ de·e)/∂x for the images of the last `forward`.
    ///
    /// # Shapes
    /// `de`: `n, h′, w′`; result: `n, h, w, c`.
    ///
    /// # Panics
    /// Before `forward`, when `de` has another length, or when the purpose does not include it.
    pub fn input_gradient(&mut self, de: &[f32]) -> &[f32] {
        self.require(Purpose::InputGradient, Done::Energies, "input_gradient needs a forward pass first");
        self.together(|this| this.run_input_gradient(de));
        self.gradient_map()
    }

    /// Adds ∂(Σ de·e)/∂θ for the images of the last `forward` to `gradient`.
    ///
    /// # Shapes
    /// `de`: `n, h′, w′`.
    ///
    /// # Panics
    /// Before `forward`, when `de` has another length, when `gradient` is of another network, or when the
    /// purpose does not include it.
    pub fn parameter_gradient(&mut self, de: &[f32], gradient: &mut Parameters) {
        self.require(
            Purpose::ParameterGradient,
            Done::Energies,
            "parameter_gradient needs a forward pass first",
        );
        self.together(|this| this.run_parameter_gradient(de, gradient));
    }

    /// Adds ∂/∂θ of Σ v·(∂(Σ p·e)/∂x) + Σ de·e to `gradient`, where p are the weights given to
    /// `input_gradient`, which must be the last thing that was run.
    ///
    /// It costs a tangent pass, a backward pass and two weight gradients: about 4/3 of a `forward` and
    /// `parameter_gradient`.
    ///
    /// # Shapes
    /// `v`: `n, h, w, c`; `de`: `n, h′, w′`.
    ///
    /// # Panics
    /// Unless `input_gradient` was run last, when a length is not as above, when `gradient` is of another
    /// network, or when the purpose does not include it.
    pub fn second_order(&mut self, v: &[f32], de: &[f32], gradient: &mut Parameters) {
        self.require(Purpose::SecondOrder, Done::InputGradient, "second_order must follow input_gradient");
        self.together(|this| this.run_second_order(v, de, gradient));
    }

    fn require(&self, purpose: Purpose, done: Done, what: &str) {
        assert!(self.purpose >= purpose, "this executor was built for {:?} only", self.purpose);
        assert!(self.done >= done, "{what}");
    }

    /// Runs with the pool's threads at hand.
    fn together(&mut self, run: impl FnOnce(&mut Self) + Send) {
        let workers = Arc::clone(&self.workers);
        let mut run = Some(run);
        workers.together(&mut || run.take().expect("an operation runs once")(self));
    }

    /// All threads, for all images of the last `forward`.
    fn everyone(&self) -> Crew<'_> {
        self.workers.all(0..self.images)
    }

    fn map_len(&self) -> usize {
        let layout = &self.nodes[self.nodes.len() - 1].layout;
        layout.height * layout.width * layout.channels
    }

    fn picture_len(&self) -> usize {
        let layout = &self.nodes[0].layout;
        layout.height * layout.width * layout.channels
    }
}

impl Node {
    fn convolution(&self) -> Option<&build::Convolution> {
        match &self.step {
            Step::Convolution(convolution) => Some(convolution),
            _ => None,
        }
    }

    /// Scratch values that one of its tasks needs.
    fn scratch(&self, kernels: &Kernels) -> usize {
        let Some(c) = self.convolution() else { return 0 };
        let passes = std::iter::once(&c.forward).chain(&c.backward).map(|p| p.scratch(kernels.lanes));
        let correlation = c.correlation.as_ref().map_or(0, CorrelationPlan::scratch);
        passes.chain([correlation, c.packing_scratch(self.layout.stride)]).max().unwrap_or(0)
    }

    /// Values allocated for it.
    fn len(&self) -> usize {
        let weights = self.convolution().map_or(0, |c| {
            let backward = c.backward.as_ref().map_or(0, |p| p.weights.len());
            let picture = c.picture.as_ref().map_or(0, |p| p.len());
            let standardised = c.standardised.as_ref().map_or(0, |s| s.unit.len() + s.factor.len());
            c.forward.weights.len() + backward + picture + c.bias.len() + c.d_acting.len() + standardised
        });
        self.map_len() + weights
    }

    /// Values of its maps.
    fn map_len(&self) -> usize {
        let b = &self.buffers;
        let maps = [&b.value, &b.slope, &b.curvature, &b.bend, &b.gradient, &b.tangent];
        maps.iter().map(|b| b.len()).sum()
    }
}
