//! Mean and spread of local energies on normal pictures that the energies were not fitted to.

use super::EVALUATION_BATCH;
use crate::image::Image;
use crate::model::{Batch, Energy};

/// Pictures of each energy that are looked at.
const PICTURES: usize = 96;
/// Keeps what is divided by a spread finite.
const LEAST: f32 = 1e-6;

/// Sums over local energies.
#[derive(Default)]
pub(super) struct Spread {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Spread {
    /// Adds what an energy says of some of the pictures that it has not seen.
    pub(super) fn add(&mut self, energy: &dyn Energy, unseen: &[&Image]) {
        let every = unseen.len().div_ceil(PICTURES).max(1);
        let some: Vec<&Image> = unseen.iter().step_by(every).copied().collect();
        for chunk in some.chunks(EVALUATION_BATCH) {
            let maps = energy.local_energies(&Batch::of(chunk.iter().copied()));
            for value in maps.into_iter().flat_map(|map| map.values).map(f64::from) {
                self.count += 1.0;
                self.sum += value;
                self.squares += value * value;
            }
        }
    }

    /// The mean and the standard deviation.
    pub(super) fn moments(&self) -> (f32, f32) {
        let mean = self.sum / self.count;
        let variance = (self.squares / self.count - mean * mean).max(0.0);
        (mean as f32, (variance.sqrt() as f32).max(LEAST))
    }
}
