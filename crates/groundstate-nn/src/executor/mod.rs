//! Runs a network on batches of pictures of one size.

use crate::network::{Network, NetworkError};
use crate::parameters::Parameters;
use crate::plain::{Plain, Tensors, Values};

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

/// Choices that do not change what is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecutorOptions {
    /// What the executor is needed for.
    pub purpose: Purpose,
}

/// A network on up to `batch` pictures of `height`×`width`, with every buffer it needs.
pub struct Executor {
    network: Network,
    batch: usize,
    height: usize,
    width: usize,
    tensors: Tensors<f32>,
    values: Option<Values<f32>>,
    weights: Vec<f32>,
    gradient: Vec<f32>,
}

impl Executor {
    /// An executor for every purpose.
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
    /// As [`Executor::new`].
    pub fn with_options(
        network: &Network,
        batch: usize,
        height: usize,
        width: usize,
        _options: ExecutorOptions,
    ) -> Result<Executor, NetworkError> {
        network.sizes(height, width)?;
        if batch == 0 {
            return Err(NetworkError::Batch { batch, height, width, what: "no buffers" });
        }
        Ok(Executor {
            network: network.clone(),
            batch,
            height,
            width,
            tensors: Plain::tensors(&Parameters::zeros(network)),
            values: None,
            weights: vec![],
            gradient: vec![],
        })
    }

    fn plain(&self) -> Plain<'_, f32> {
        Plain::new(&self.network, self.tensors.clone(), self.height, self.width).expect("checked in new")
    }

    fn values(&self) -> &Values<f32> {
        self.values.as_ref().expect("forward comes first")
    }

    /// Takes the weights for all that follows; needed once before the first `forward` and after each change.
    ///
    /// # Panics
    /// When the parameters are of another network.
    pub fn load(&mut self, parameters: &Parameters) {
        self.tensors = Plain::tensors(parameters);
        self.values = None;
    }

    /// Local energies.
    ///
    /// # Shapes
    /// `x`: `n, h, w, c` with n ≤ batch; `noise_levels`: `n`, or empty when the network takes none; result:
    /// `n, h′, w′`.
    ///
    /// # Panics
    /// When a length is not as above.
    pub fn forward(&mut self, x: &[f32], noise_levels: &[f32]) -> &[f32] {
        assert!(x.len() <= self.batch * self.height * self.width * self.network.input_channels());
        let values = self.plain().forward(x, noise_levels);
        self.values.insert(values).energies()
    }

    /// ∂(Σ de·e)/∂x for the images of the last `forward`.
    ///
    /// # Shapes
    /// `de`: `n, h′, w′`; result: `n, h, w, c`.
    ///
    /// # Panics
    /// Before `forward`, or when a length is not as above.
    pub fn input_gradient(&mut self, de: &[f32]) -> &[f32] {
        self.gradient = self.plain().input_gradient(self.values(), de);
        self.weights = de.to_vec();
        &self.gradient
    }

    /// Adds ∂(Σ de·e)/∂θ for the images of the last `forward` to `gradient`.
    ///
    /// # Shapes
    /// `de`: `n, h′, w′`.
    ///
    /// # Panics
    /// Before `forward`, or when a length is not as above.
    pub fn parameter_gradient(&mut self, de: &[f32], gradient: &mut Parameters) {
        let found = self.plain().parameter_gradient(self.values(), de);
        add(gradient, &found);
    }

    /// Adds ∂/∂θ of Σ v·(∂(Σ p·e)/∂x) + Σ de·e to `gradient`, where p are the weights given to the last
    /// `input_gradient`, which must have followed the last `forward`.
    ///
    /// # Shapes
    /// `v`: `n, h, w, c`; `de`: `n, h′, w′`.
    ///
    /// # Panics
    /// Before `forward` and `input_gradient`, or when a length is not as above.
    pub fn second_order(&mut self, v: &[f32], de: &[f32], gradient: &mut Parameters) {
        let found = self.plain().second_order(self.values(), v, &self.weights, de);
        add(gradient, &found);
    }

    /// Local energies of the last `forward`, `n, h′, w′`.
    pub fn energy_map(&self) -> &[f32] {
        self.values.as_ref().map_or(&[], |v| v.energies())
    }

    /// Result of the last `input_gradient`, `n, h, w, c`.
    pub fn gradient_map(&self) -> &[f32] {
        &self.gradient
    }
}

fn add(gradient: &mut Parameters, found: &Tensors<f32>) {
    for ((_, _, values), found) in gradient.iter_mut().zip(found) {
        values.iter_mut().zip(found).for_each(|(v, f)| *v += f);
    }
}
