//! Method `dsm`: multi-scale denoising score matching (Vincent 2011; Song & Ermon 2019).
//!
//! For σ log-uniform and n ~ N(0, I): L = ‖σ ∂E/∂x(x + σ n, σ) − n‖², averaged over pixels. With
//! E(x, σ) = Σ e(u, v) / σ the network's own input gradient is asked to equal the noise at every
//! σ, so its scale does not depend on σ; a reference energy is divided by σ likewise. No chain is
//! run.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::objective::{Objective, StepReport};
use super::student::Student;
use crate::model::Batch;

/// Settings of method `dsm`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DsmConfig {
    /// Smallest noise level σ, for pictures whose pixel values spread by 0.25; scaled to the spread of
    /// the normal pictures.
    pub lowest_noise: f32,
    /// Largest noise level.
    pub highest_noise: f32,
    /// Noise level at which the trained network is read.
    pub reading_noise: f32,
    /// Weight of the squared mean local energy in the loss (MULDE, Micorek et al. 2024).
    pub energy_weight: f32,
}

impl Default for DsmConfig {
    fn default() -> Self {
        Self { lowest_noise: 0.02, highest_noise: 0.5, reading_noise: 0.045, energy_weight: 0.0 }
    }
}

/// Spread of pixel values that the noise levels are stated for, about that of natural photographs.
const USUAL_SPREAD: f32 = 0.25;

pub(super) struct Dsm {
    config: DsmConfig,
    /// What a noise level of 1 means: dark or flat pictures drown in noise that others need.
    unit: f32,
}

impl Dsm {
    pub(super) fn new(config: &DsmConfig) -> Result<Self, TrainError> {
        let DsmConfig { lowest_noise: low, highest_noise: high, reading_noise, energy_weight } = *config;
        let error = |setting, found: f32, expected| {
            Err(TrainError::Setting { setting, found: found.to_string(), expected })
        };
        if !(low > 0.0 && low.is_finite()) {
            return error("dsm.lowest_noise", low, "a positive number");
        }
        if !(high > low && high.is_finite()) {
            return error("dsm.highest_noise", high, "a number above dsm.lowest_noise");
        }
        if !(low..=high).contains(&reading_noise) {
            return error(
                "dsm.reading_noise",
                reading_noise,
                "a number between lowest_noise and highest_noise",
            );
        }
        if !(energy_weight >= 0.0 && energy_weight.is_finite()) {
            return error("dsm.energy_weight", energy_weight, "zero or a positive number");
        }
        Ok(Self { config: config.clone(), unit: 1.0 })
    }
}

impl Objective for Dsm {
    fn noise_level(&self) -> Option<f32> {
        Some(self.unit * self.config.reading_noise)
    }

    fn starts_at_zero(&self) -> bool {
        true
    }

    /// Sets the unit of the noise levels, then adds noise.
    fn disturb(&mut self, pictures: &mut Batch, rng: &mut ChaCha8Rng) {
        self.unit = (spread(&pictures.values) / USUAL_SPREAD).clamp(0.05, 2.0);
        let noise = standard_normal(pictures.count, pictures.picture_len(), rng);
        let sigma = self.unit * self.config.reading_noise;
        pictures.values.iter_mut().zip(&noise).for_each(|(x, n)| *x += sigma * n);
    }

    fn pictures_at_once(&self, batch: usize) -> usize {
        batch
    }

    fn step(&mut self, normal: &[f32], student: &mut Student, rng: &mut ChaCha8Rng) -> StepReport {
        let length = student.picture_len();
        let count = normal.len() / length;
        let (low, high) = (self.config.lowest_noise.ln(), self.config.highest_noise.ln());
        let sigma: Vec<f32> = (0..count).map(|_| self.unit * rng.random_range(low..high).exp()).collect();
        let noise = standard_normal(count, length, rng);
        let mut noisy = normal.to_vec();
        for (i, x) in noisy.iter_mut().enumerate() {
            *x += sigma[i / length] * noise[i];
        }
        // Weights of 1: what comes back is σ ∂E/∂x.
        let scaled = student.input_gradient(&noisy, &sigma, &vec![1.0; count]);
        let pixels = noise.len() as f32;
        let mut loss = 0f64;
        let direction: Vec<f32> = scaled
            .iter()
            .zip(&noise)
            .map(|(g, n)| {
                loss += f64::from(g - n).powi(2);
                2.0 * (g - n) / pixels
            })
            .collect();
        loss /= f64::from(pixels);
        let local = student.last_learned_energies();
        let share = 1.0 / local.len() as f32;
        let weights: Vec<f32> = local.iter().map(|e| 2.0 * self.config.energy_weight * e * share).collect();
        let energy = local.iter().map(|&e| f64::from(e).powi(2)).sum::<f64>() * f64::from(share);
        student.collect_second_order(&direction, &weights);
        StepReport { loss: loss + f64::from(self.config.energy_weight) * energy, energy_gap: None }
    }
}

/// Standard deviation of pixel values.
fn spread(values: &[f32]) -> f32 {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt() as f32
}

/// `count × length` standard normal values, in parallel, the same for any number of threads.
pub(super) fn standard_normal(count: usize, length: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let seeds: Vec<u64> = (0..count).map(|_| rng.random()).collect();
    let mut values = vec![0f32; count * length];
    values.par_chunks_exact_mut(length).zip(&seeds).for_each(|(part, &seed)| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        part.iter_mut().for_each(|value| *value = StandardNormal.sample(&mut rng));
    });
    values
}
