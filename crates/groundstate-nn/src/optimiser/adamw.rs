//! Adam with decoupled weight decay.

use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};
use serde::{Deserialize, Serialize};

use super::{OptimiserError, check};
use crate::kernels::{Backend, Task};
use crate::parameters::{Parameters, SHARE};
use crate::simd::Simd;

/// Settings of [`AdamW`]; the learning rate comes with each step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWSettings {
    /// Decay of the mean gradient per step, in [0, 1).
    pub beta1: f64,
    /// Decay of the mean squared gradient per step, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the mean square, above 0.
    pub epsilon: f64,
    /// Weights shrink by the factor 1 − rate · decay per step, at least 0; biases and gains do not.
    pub weight_decay: f64,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        AdamWSettings { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }
}

/// Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2) and its running moments.
///
/// Serialises whole, so that training can go on from a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamW {
    settings: AdamWSettings,
    steps: u64,
    mean: Parameters,
    square: Parameters,
}

impl AdamW {
    /// Moments of zero for parameters of this form.
    ///
    /// # Errors
    /// Names the first setting that is out of range.
    pub fn new(settings: AdamWSettings, parameters: &Parameters) -> Result<AdamW, OptimiserError> {
        let AdamWSettings { beta1, beta2, epsilon, weight_decay } = settings;
        check("beta1", beta1, (0.0..1.0).contains(&beta1), "a number in [0, 1)")?;
        check("beta2", beta2, (0.0..1.0).contains(&beta2), "a number in [0, 1)")?;
        check("epsilon", epsilon, epsilon > 0.0 && epsilon.is_finite(), "a number above 0")?;
        let decays = weight_decay >= 0.0 && weight_decay.is_finite();
        check("weight_decay", weight_decay, decays, "a number of at least 0")?;
        Ok(AdamW { settings, steps: 0, mean: parameters.zeros_like(), square: parameters.zeros_like() })
    }

    /// Whether the moments are for parameters of this form.
    pub fn fits(&self, parameters: &Parameters) -> bool {
        self.mean.same_form(parameters) && self.square.same_form(parameters)
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Moves `parameters` one step against `gradient`.
    ///
    /// # Panics
    /// When the three do not have the same form.
    pub fn step(&mut self, parameters: &mut Parameters, gradient: &Parameters, learning_rate: f64) {
        self.steps += 1;
        let AdamWSettings { beta1, beta2, epsilon, weight_decay } = self.settings;
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let rate = (learning_rate / (1.0 - beta1.powi(steps))) as f32;
        let root = (1.0 / (1.0 - beta2.powi(steps)).sqrt()) as f32;
        let (new1, new2, epsilon) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32, epsilon as f32);
        assert!(self.mean.same_form(gradient), "moments and gradient of two different networks");
        assert!(parameters.same_form(gradient), "parameters and gradient of two different networks");
        let backend = Backend::detect();
        let moments = self.mean.tensors.par_iter_mut().zip(&mut self.square.tensors);
        let given = parameters.tensors.par_iter_mut().zip(&gradient.tensors);
        given.zip(moments).for_each(|((p, g), (m, s))| {
            let decay = if p.name.ends_with(".weight") { learning_rate * weight_decay } else { 0.0 };
            let keep = (1.0 - decay) as f32;
            let given = p.data.par_chunks_mut(SHARE).zip(g.data.par_chunks(SHARE));
            let moments = m.data.par_chunks_mut(SHARE).zip(s.data.par_chunks_mut(SHARE));
            given.zip(moments).for_each(|((p, g), (m, s))| {
                let scalars = Scalars { new1, new2, keep, rate, root, epsilon };
                backend.run(Step { parameters: p, gradient: g, mean: m, square: s, scalars });
            });
        });
    }
}

/// Some numbers of one tensor, with those of its moments.
struct Step<'a> {
    parameters: &'a mut [f32],
    gradient: &'a [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
    scalars: Scalars,
}

/// What is the same for all numbers of a tensor: shares of what is new in the moments, what weight decay leaves,
/// the rate and the factor of the root with the corrections of their bias, and ε.
#[derive(Clone, Copy)]
struct Scalars {
    new1: f32,
    new2: f32,
    keep: f32,
    rate: f32,
    root: f32,
    epsilon: f32,
}

impl Task for Step<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Step { parameters, gradient, mean, square, scalars } = self;
        let Scalars { new1, new2, keep, rate, root, epsilon } = scalars;
        // The compiler makes vectors of it; each operation rounds by itself, so all backends agree in every bit.
        for ((p, g), (m, s)) in parameters.iter_mut().zip(gradient).zip(mean.iter_mut().zip(square)) {
            *m += new1 * (g - *m);
            *s += new2 * (g * g - *s);
            *p = *p * keep - rate * *m / (s.sqrt() * root + epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_takes_the_same_step() {
        let numbers = |pace: f32| (0..77).map(|i| (i as f32 * pace).sin()).collect::<Vec<f32>>();
        let scalars = Scalars { new1: 0.1, new2: 1e-3, keep: 0.999, rate: 1e-3, root: 31.6, epsilon: 1e-8 };
        let step = |backend: Backend| {
            let (mut p, g, mut m) = (numbers(0.3), numbers(0.7), numbers(1.1));
            let mut s: Vec<f32> = numbers(1.9).iter().map(|v| v * v).collect();
            backend.run(Step { parameters: &mut p, gradient: &g, mean: &mut m, square: &mut s, scalars });
            [p, m, s]
        };
        for backend in Backend::available() {
            assert_eq!(step(backend), step(Backend::Portable), "{}", backend.name());
        }
    }
}
