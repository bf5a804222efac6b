//! A running average of the weights, which usually scores better than the last weights.

use serde::{Deserialize, Serialize};

use super::{OptimiserError, check};
use crate::parameters::Parameters;

/// The exponentially weighted mean of all parameters seen.
///
/// The weights of the mean always sum to one: after t updates it is Σ dᵗ⁻ⁱ θᵢ / Σ dᵗ⁻ⁱ (the bias correction
/// of Kingma & Ba 2015, §3), so after the first update it equals the parameters and early ones fade fast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightAverage {
    decay: f64,
    updates: u64,
    average: Parameters,
}

impl WeightAverage {
    /// An empty average with a decay per update in [0, 1).
    ///
    /// # Errors
    /// When the decay is out of range.
    pub fn new(decay: f64, parameters: &Parameters) -> Result<WeightAverage, OptimiserError> {
        check("decay", decay, (0.0..1.0).contains(&decay), "a number in [0, 1)")?;
        Ok(WeightAverage { decay, updates: 0, average: parameters.clone() })
    }

    /// Takes the parameters in.
    ///
    /// # Panics
    /// When they do not have the form of those given to `new`.
    pub fn update(&mut self, parameters: &Parameters) {
        self.updates += 1;
        let updates = i32::try_from(self.updates).unwrap_or(i32::MAX);
        let share = ((1.0 - self.decay) / (1.0 - self.decay.powi(updates))) as f32;
        self.average.zip_mut(parameters, |a, p| *a += share * (p - *a));
    }

    /// The average; before the first update, the parameters given to `new`.
    pub fn parameters(&self) -> &Parameters {
        &self.average
    }

    /// Updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }
}
