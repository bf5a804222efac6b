//! Langevin chains and the replay buffer that keeps them between training steps.
//!
//! One step is x ← x − α ∂E/∂x + σ n with n ~ N(0, I). With σ² = 2α (and α → 0) the chain samples
//! exp(−E); practice uses a much smaller σ: a tempered chain (Du & Mordatch 2019).

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// Settings of a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LangevinConfig {
    /// Langevin steps per training step.
    pub steps: usize,
    /// Step size α.
    pub step_size: f32,
    /// Standard deviation σ of the noise added at each step.
    pub noise: f32,
    /// Gradients are clipped to ± this value before the step.
    pub gradient_clip: Option<f32>,
    /// Whether the chain is kept inside the pixel range `[0, 1]`.
    pub pixel_range: bool,
}

impl Default for LangevinConfig {
    /// The settings of IGEBM (Du & Mordatch 2019) at a third of its steps, each at most 0.02 long:
    /// longer ones leave a trace of their own that a network tells from pictures at once.
    fn default() -> Self {
        Self { steps: 20, step_size: 2.0, noise: 0.005, gradient_clip: Some(0.01), pixel_range: true }
    }
}

/// Why a chain cannot run.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{setting} is {found}, expected {expected}")]
pub struct LangevinError {
    /// Name of the setting.
    pub setting: &'static str,
    /// Its value.
    pub found: f64,
    /// Its range.
    pub expected: &'static str,
}

/// A chain that can run: settings that were checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Langevin {
    config: LangevinConfig,
}

impl LangevinConfig {
    /// Turns settings into a chain that can run.
    ///
    /// # Errors
    /// Names the first setting that is out of range.
    pub fn check(self) -> Result<Langevin, LangevinError> {
        let error =
            |setting, found: f32, expected| Err(LangevinError { setting, found: f64::from(found), expected });
        if self.steps == 0 {
            return error("langevin.steps", 0.0, "at least 1");
        }
        if !(self.step_size.is_finite() && self.step_size > 0.0) {
            return error("langevin.step_size", self.step_size, "a positive number");
        }
        if !(self.noise.is_finite() && self.noise >= 0.0) {
            return error("langevin.noise", self.noise, "zero or a positive number");
        }
        match self.gradient_clip {
            Some(clip) if !(clip.is_finite() && clip > 0.0) => {
                error("langevin.gradient_clip", clip, "a positive number")
            }
            _ => Ok(Langevin { config: self }),
        }
    }
}

impl Langevin {
    /// Moves every value of `x` by all steps, the gradient multiplied by `gain`.
    ///
    /// `gradient` writes ∂E/∂x at its first argument into its second.
    pub fn run(
        &self,
        x: &mut [f32],
        gain: f32,
        mut gradient: impl FnMut(&[f32], &mut [f32]),
        rng: &mut impl Rng,
    ) {
        let LangevinConfig { steps, step_size, noise, gradient_clip, pixel_range } = self.config;
        let clip = gradient_clip.unwrap_or(f32::INFINITY);
        let mut slope = vec![0f32; x.len()];
        for _ in 0..steps {
            gradient(x, &mut slope);
            for (x, &g) in x.iter_mut().zip(&slope) {
                let n: f32 = StandardNormal.sample(rng);
                *x += noise * n - step_size * (gain * g).clamp(-clip, clip);
                if pixel_range {
                    *x = x.clamp(0.0, 1.0);
                }
            }
        }
    }
}

/// Chains that go on from one training step to the next (persistent contrastive divergence,
/// Tieleman 2008; with restarts, Du & Mordatch 2019).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReplayBuffer {
    chains: Vec<Vec<f32>>,
    capacity: usize,
}

impl ReplayBuffer {
    /// An empty buffer for at most `capacity` chains.
    pub fn new(capacity: usize) -> Self {
        Self { chains: Vec::new(), capacity }
    }

    /// Whether this is a buffer of that capacity for chains of `length` values.
    pub fn fits(&self, capacity: usize, length: usize) -> bool {
        self.capacity == capacity
            && self.chains.len() <= capacity
            && self.chains.iter().all(|chain| chain.len() == length)
    }

    /// Chains in the buffer.
    pub fn len(&self) -> usize {
        self.chains.len()
    }

    /// Where the chains are.
    pub fn chains(&self) -> &[Vec<f32>] {
        &self.chains
    }

    /// Whether no chain is in the buffer.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// Copies `count` chains for a training step: each is a fresh one with probability
    /// `restart_share` (or while the buffer is empty), else one drawn from the buffer.
    ///
    /// Where they end goes back with [`ReplayBuffer::put`].
    pub fn take<R: Rng>(
        &self,
        count: usize,
        restart_share: f64,
        mut fresh: impl FnMut(&mut R) -> Vec<f32>,
        rng: &mut R,
    ) -> Vec<f32> {
        let mut taken = Vec::new();
        for _ in 0..count {
            if self.chains.is_empty() || rng.random_bool(restart_share) {
                taken.extend(fresh(rng));
            } else {
                taken.extend_from_slice(&self.chains[rng.random_range(0..self.chains.len())]);
            }
        }
        taken
    }

    /// Puts chains of `length` values each back; beyond the capacity they replace random ones.
    pub fn put(&mut self, chains: &[f32], length: usize, rng: &mut impl Rng) {
        for chain in chains.chunks_exact(length) {
            if self.chains.len() < self.capacity {
                self.chains.push(chain.to_vec());
            } else {
                let i = rng.random_range(0..self.capacity);
                self.chains[i] = chain.to_vec();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// A chain without clipping, at temperature 1.
    fn exact(steps: usize, step_size: f32) -> Langevin {
        let noise = (2.0 * step_size).sqrt();
        LangevinConfig { steps, step_size, noise, gradient_clip: None, pixel_range: false }.check().unwrap()
    }

    fn moments(x: &[f32]) -> (f64, f64) {
        let n = x.len() as f64;
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        (mean, x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n)
    }

    #[test]
    fn langevin_on_a_quadratic_has_the_predicted_variance() {
        // E = k (x − 2)² / 2: the chain x ← x − αk(x−2) + √(2α) n has variance 1 / (k (1 − αk/2)).
        let (k, step_size) = (4.0f32, 0.05f32);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut x = vec![0f32; 40_000];
        exact(200, step_size).run(
            &mut x,
            1.0,
            |x, g| (0..x.len()).for_each(|i| g[i] = k * (x[i] - 2.0)),
            &mut rng,
        );
        let (mean, variance) = moments(&x);
        let predicted = 1.0 / f64::from(k * (1.0 - step_size * k / 2.0));
        // Standard errors: √(variance/n) and variance·√(2/n); four of each.
        assert!((mean - 2.0).abs() < 4.0 * (predicted / 40_000.0).sqrt(), "{mean}");
        assert!((variance - predicted).abs() < 4.0 * predicted * (2.0 / 40_000.0f64).sqrt(), "{variance}");
    }

    #[test]
    fn langevin_visits_both_modes_of_a_mixture_by_their_weight() {
        // p = 0.3 N(−1.2, 0.6²) + 0.7 N(1.2, 0.6²): mean 0.48, variance 0.36 + 1.44 · 4 · 0.21.
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut x = vec![0f32; 20_000];
        let gradient = |x: &[f32], g: &mut [f32]| {
            for (g, &x) in g.iter_mut().zip(x) {
                let density = |weight: f32, mean: f32| weight * (-(x - mean).powi(2) / 0.72).exp();
                let (low, high) = (density(0.3, -1.2), density(0.7, 1.2));
                *g = (low * (x + 1.2) + high * (x - 1.2)) / (0.36 * (low + high));
            }
        };
        exact(1500, 0.01).run(&mut x, 1.0, gradient, &mut rng);
        let (mean, variance) = moments(&x);
        let predicted = 0.36 + 1.44 * 4.0 * 0.21;
        // Four standard errors, plus the discretisation's O(α) share.
        assert!((mean - 0.48).abs() < 4.0 * (predicted / 20_000.0f64).sqrt() + 0.01, "{mean}");
        assert!((variance - predicted).abs() < 0.04 * predicted, "{variance}");
    }

    #[test]
    fn a_chain_stays_inside_the_pixel_range() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut x = vec![0.5f32; 100];
        let chain = LangevinConfig { noise: 1.0, ..Default::default() }.check().unwrap();
        chain.run(&mut x, 1.0, |_, g| g.fill(-1.0), &mut rng);
        assert!(x.iter().all(|v| (0.0..=1.0).contains(v)));
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let refuse =
            |config: LangevinConfig, setting| assert_eq!(config.check().unwrap_err().setting, setting);
        refuse(LangevinConfig { steps: 0, ..Default::default() }, "langevin.steps");
        refuse(LangevinConfig { step_size: f32::NAN, ..Default::default() }, "langevin.step_size");
        refuse(LangevinConfig { noise: -1.0, ..Default::default() }, "langevin.noise");
        refuse(LangevinConfig { gradient_clip: Some(0.0), ..Default::default() }, "langevin.gradient_clip");
    }

    #[test]
    fn the_buffer_keeps_to_its_capacity_and_restarts_at_the_stated_share() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut buffer = ReplayBuffer::new(64);
        let mut fresh = 0;
        for _ in 0..2000 {
            let make = |_: &mut ChaCha8Rng| {
                fresh += 1;
                vec![0.0; 3]
            };
            let chains = buffer.take(8, 0.1, make, &mut rng);
            buffer.put(&chains, 3, &mut rng);
        }
        assert_eq!(buffer.len(), 64);
        // Eight at the start, then a binomial of 1999 · 8 at 0.1; four standard deviations.
        let expected = 8.0 + 15_992.0 * 0.1;
        assert!((f64::from(fresh) - expected).abs() < 4.0 * (15_992.0f64 * 0.09).sqrt(), "{fresh}");
    }
}
