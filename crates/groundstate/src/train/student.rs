//! The network while it learns, with what every training method needs of it.

use groundstate_nn::{Executor, LastLayer, Parameters};

use super::TrainError;
use crate::model::{Batch, Learned, NetworkConfig, Reference, Wanted};

/// A network in training, on top of a reference energy if there is one.
///
/// # Shapes
/// Pictures are `n × height × width × channels`, local energies `n × cells` on the network's grid.
pub(super) struct Student {
    learned: Learned,
    executor: Executor,
    gradient: Parameters,
    reference: Option<Reference>,
    /// A batch without pictures that knows their shape.
    shape: Batch,
    stride: usize,
    cells: usize,
}

/// Where a network starts from.
pub(super) struct Start<'a> {
    pub(super) network: &'a NetworkConfig,
    pub(super) last: LastLayer,
    pub(super) seed: u64,
}

impl Student {
    /// A new network for up to `batch` pictures, its starting values fitted to the few in `like`.
    ///
    /// # Errors
    /// When the network cannot be built for pictures of this size.
    pub(super) fn new(
        start: Start,
        like: &Batch,
        batch: usize,
        noise_level: Option<f32>,
        reference: Option<Reference>,
    ) -> Result<Self, TrainError> {
        let network = start.network.network(like.channels, noise_level.is_some())?;
        let (rows, columns) = network.output_size(like.height, like.width)?;
        let mut executor = Executor::new(&network, batch, like.height, like.width)?;
        let mut parameters = Parameters::initialise_with(&network, start.seed, start.last);
        let levels = noise_level.map_or(Vec::new(), |level| vec![level; like.count]);
        parameters.fit(&network, &like.values, &levels, like.height, like.width)?;
        executor.load(&parameters);
        let gradient = Parameters::zeros(&network);
        let stride = network.total_stride();
        Ok(Self {
            learned: Learned::new(network, parameters, noise_level),
            executor,
            gradient,
            reference,
            shape: Batch { count: 0, values: Vec::new(), ..*like },
            stride,
            cells: rows * columns,
        })
    }

    /// Values of a picture.
    pub(super) fn picture_len(&self) -> usize {
        self.shape.picture_len()
    }

    /// Height, width and channels of a picture.
    pub(super) fn picture_shape(&self) -> (usize, usize, usize) {
        (self.shape.height, self.shape.width, self.shape.channels)
    }

    /// Local energies of a picture.
    pub(super) fn cells(&self) -> usize {
        self.cells
    }

    /// Pixels per step of the grid.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// The network, its weights and how it is read.
    pub(super) fn learned(&self) -> &Learned {
        &self.learned
    }

    /// Local energies E₀ + E_θ of pictures; the network part stays ready for a gradient.
    pub(super) fn energies(&mut self, pictures: &[f32], noise_levels: &[f32]) -> Vec<f32> {
        let mut local = self.executor.forward(pictures, noise_levels).to_vec();
        if let Some(reference) = &self.reference {
            let found = reference.evaluate_on_grid(&self.batch(pictures), self.stride, Wanted::default());
            for (to, from) in local.iter_mut().zip(found.iter().flat_map(|found| &found.local.values)) {
                *to += from;
            }
        }
        local
    }

    /// Local energies E_θ of the network alone, of the last pictures.
    pub(super) fn last_learned_energies(&self) -> &[f32] {
        self.executor.energy_map()
    }

    /// Gradient at the pixels of each picture's sum of local energies, multiplied by the picture's
    /// weight.
    pub(super) fn input_gradient(
        &mut self,
        pictures: &[f32],
        noise_levels: &[f32],
        weights: &[f32],
    ) -> Vec<f32> {
        self.executor.forward(pictures, noise_levels);
        let spread: Vec<f32> = weights.iter().flat_map(|&w| std::iter::repeat_n(w, self.cells)).collect();
        let mut gradient = self.executor.input_gradient(&spread).to_vec();
        if let Some(reference) = &self.reference {
            let wanted = Wanted { free: false, gradient: true };
            let found = reference.evaluate_on_grid(&self.batch(pictures), self.stride, wanted);
            let found = found.iter().filter_map(|found| found.gradient.as_ref());
            let parts = gradient.chunks_exact_mut(self.shape.picture_len());
            for ((to, from), &weight) in parts.zip(found).zip(weights) {
                to.iter_mut().zip(from).for_each(|(to, g)| *to += weight * g);
            }
        }
        gradient
    }

    /// Collects the parameter gradient of Σ `weights` · local energies of the last pictures.
    pub(super) fn collect(&mut self, weights: &[f32]) {
        self.executor.parameter_gradient(weights, &mut self.gradient);
    }

    /// Collects the parameter gradient of Σ `direction` · input gradient + Σ `weights` · local
    /// energies, after [`Student::input_gradient`].
    pub(super) fn collect_second_order(&mut self, direction: &[f32], weights: &[f32]) {
        self.executor.second_order(direction, weights, &mut self.gradient);
    }

    /// Hands the collected gradient and the weights to an optimiser, then starts anew.
    pub(super) fn update(&mut self, step: impl FnOnce(&mut Parameters, &mut Parameters)) {
        step(&mut self.learned.parameters, &mut self.gradient);
        self.gradient.set_zero();
        self.executor.load(&self.learned.parameters);
    }

    /// Replaces the weights.
    pub(super) fn restore(&mut self, parameters: &Parameters) {
        let parameters = parameters.clone();
        self.update(|own, _| *own = parameters);
    }

    fn batch(&self, pictures: &[f32]) -> Batch {
        Batch { count: pictures.len() / self.shape.picture_len(), values: pictures.to_vec(), ..self.shape }
    }
}
