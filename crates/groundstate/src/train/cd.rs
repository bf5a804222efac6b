//! Method `cd`: contrastive divergence with Langevin chains and a replay buffer, the paper's family
//! (Hinton 2002; Du & Mordatch 2019).
//!
//! L = E(x⁺) − E(x⁻) + λ (E(x⁺)² + E(x⁻)²), location by location, x⁻ from chains that go on from a
//! buffer. Chains are kept from falling behind: once they no longer reach low energies the network
//! separates them trivially, the gradient carries nothing about normal pictures, and the model
//! collapses. So their step size follows the energy gap: it grows while negatives lie clearly above
//! the normal pictures and shrinks while they lie below, and the network waits for chains that are
//! far behind.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::dsm::standard_normal;
use super::objective::{Objective, StepReport};
use super::student::Student;
use crate::model::Batch;
use crate::sampler::{Langevin, LangevinConfig, ReplayBuffer};

/// Settings of method `cd`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CdConfig {
    /// Chains.
    pub langevin: LangevinConfig,
    /// Chains that the replay buffer holds.
    pub buffer: usize,
    /// Share of chains that start afresh.
    pub restart_share: f64,
    /// Weight λ of the squared local energies.
    pub energy_weight: f32,
    /// Standard deviation of the noise on normal pictures.
    pub input_noise: f32,
    /// Energy gap that the chains' step size is steered to.
    pub target_gap: f64,
}

impl Default for CdConfig {
    fn default() -> Self {
        Self {
            langevin: LangevinConfig::default(),
            buffer: 1024,
            restart_share: 0.05,
            energy_weight: 1.0,
            input_noise: 0.02,
            target_gap: 0.1,
        }
    }
}

/// Share of fresh chains that start at uniform noise.
const NOISE_SHARE: f64 = 0.1;
/// Change of the chains' gain per step, and the range it stays in.
const GAIN_CHANGE: f32 = 1.1;
const GAIN_RANGE: (f32, f32) = (1e-3, 1e4);

pub(super) struct Cd {
    config: CdConfig,
    langevin: Langevin,
    buffer: ReplayBuffer,
    gain: f32,
}

impl Cd {
    pub(super) fn new(config: &CdConfig) -> Result<Self, TrainError> {
        let error = |setting, found: f64, expected| {
            Err(TrainError::Setting { setting, found: found.to_string(), expected })
        };
        if config.buffer == 0 {
            return error("cd.buffer", 0.0, "at least 1");
        }
        if !(0.0..=1.0).contains(&config.restart_share) {
            return error("cd.restart_share", config.restart_share, "a number in [0, 1]");
        }
        if !(config.energy_weight >= 0.0 && config.energy_weight.is_finite()) {
            return error("cd.energy_weight", config.energy_weight.into(), "zero or a positive number");
        }
        if !(config.input_noise >= 0.0 && config.input_noise.is_finite()) {
            return error("cd.input_noise", config.input_noise.into(), "zero or a positive number");
        }
        if !(config.target_gap > 0.0 && config.target_gap.is_finite()) {
            return error("cd.target_gap", config.target_gap, "a positive number");
        }
        Ok(Self {
            config: config.clone(),
            langevin: config.langevin.clone().check()?,
            buffer: ReplayBuffer::new(config.buffer),
            gain: 1.0,
        })
    }

    /// Where fresh chains start: mostly at a normal picture under noise, near enough to come back;
    /// now and then at uniform noise, so that no region far away keeps a low energy.
    fn fresh(normal: &[f32], length: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        if rng.random_bool(NOISE_SHARE) {
            return (0..length).map(|_| rng.random()).collect();
        }
        let first = rng.random_range(0..normal.len() / length) * length;
        let sigma = rng.random_range(0.05..0.5f32);
        let noise = standard_normal(1, length, rng);
        normal[first..first + length]
            .iter()
            .zip(&noise)
            .map(|(x, n)| (x + sigma * n).clamp(0.0, 1.0))
            .collect()
    }
}

impl Objective for Cd {
    fn starts_at_zero(&self) -> bool {
        true
    }

    /// Every other picture becomes a fresh chain: noise must not drive the network out of its range.
    fn disturb(&mut self, pictures: &mut Batch, rng: &mut ChaCha8Rng) {
        let length = pictures.picture_len();
        let normal = pictures.values.clone();
        for picture in pictures.values.chunks_exact_mut(length).step_by(2) {
            picture.copy_from_slice(&Self::fresh(&normal, length, rng));
        }
    }

    fn pictures_at_once(&self, batch: usize) -> usize {
        2 * batch
    }

    /// The chains and their gain.
    fn memory(&self) -> Vec<u8> {
        postcard::to_stdvec(&(self.gain, &self.buffer)).expect("chains are plain data")
    }

    fn remember(&mut self, memory: &[u8], picture_len: usize) -> Option<()> {
        let (gain, buffer): (f32, ReplayBuffer) = postcard::from_bytes(memory).ok()?;
        buffer.fits(self.config.buffer, picture_len).then(|| (self.gain, self.buffer) = (gain, buffer))
    }

    /// Chains from all over the buffer.
    fn samples(&self, count: usize) -> Vec<Vec<f32>> {
        let chains = self.buffer.chains();
        let count = count.min(chains.len());
        (0..count).map(|i| chains[i * chains.len() / count].clone()).collect()
    }

    fn step(&mut self, normal: &[f32], student: &mut Student, rng: &mut ChaCha8Rng) -> StepReport {
        let length = student.picture_len();
        let count = normal.len() / length;
        let fresh = |rng: &mut ChaCha8Rng| Self::fresh(normal, length, rng);
        let mut chains = self.buffer.take(count, self.config.restart_share, fresh, rng);
        let ones = vec![1.0; count];
        let gradient =
            |x: &[f32], slope: &mut [f32]| slope.copy_from_slice(&student.input_gradient(x, &[], &ones));
        self.langevin.run(&mut chains, self.gain, gradient, rng);
        self.buffer.put(&chains, length, rng);

        let mut both = normal.to_vec();
        for (x, n) in both.iter_mut().zip(standard_normal(count, length, rng)) {
            *x += self.config.input_noise * n;
        }
        both.extend_from_slice(&chains);
        let local = student.energies(&both, &[]);
        let (positive, negative) = local.split_at(local.len() / 2);
        let mean = |values: &[f32]| values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
        let gap = mean(negative) - mean(positive);
        let squares = local.iter().map(|&e| f64::from(e).powi(2)).sum::<f64>() / positive.len() as f64;
        self.follow(gap);

        let share = 1.0 / positive.len() as f32;
        // Chains that are far behind teach nothing: only the regulariser acts until they catch up.
        let pull = if gap > 5.0 * self.config.target_gap { 0.0 } else { 1.0 };
        let weights: Vec<f32> = local
            .iter()
            .enumerate()
            .map(|(i, &e)| {
                let sign = if i < positive.len() { pull } else { -pull };
                share * (sign + 2.0 * self.config.energy_weight * e)
            })
            .collect();
        student.collect(&weights);
        StepReport { loss: -gap + f64::from(self.config.energy_weight) * squares, energy_gap: Some(gap) }
    }
}

impl Cd {
    /// Steers the chains' gain to the target gap.
    fn follow(&mut self, gap: f64) {
        let change = if gap > self.config.target_gap { GAIN_CHANGE } else { 1.0 / GAIN_CHANGE };
        self.gain = (self.gain * change).clamp(GAIN_RANGE.0, GAIN_RANGE.1);
    }
}
