//! What tells one learned method from another.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::student::Student;
use crate::model::Batch;

/// Loss of one step and what it saw.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct StepReport {
    pub(super) loss: f64,
    /// Mean energy of negatives minus mean energy of normal pictures.
    pub(super) energy_gap: Option<f64>,
}

/// A learning objective: turns normal pictures into a loss and its parameter gradient.
pub(super) trait Objective {
    /// The noise level at which the trained network is read, if it takes one.
    fn noise_level(&self) -> Option<f32> {
        None
    }

    /// Whether the learned energy starts at zero: on top of a reference it does in any case, and
    /// where its gradient is the target it must not start steep. A last layer of zeros costs the
    /// other layers some steps before they learn.
    fn starts_at_zero(&self) -> bool {
        false
    }

    /// Makes of some normal pictures what the network will see in training, so that its starting
    /// values can be fitted to that. Called once, before the first step.
    fn disturb(&mut self, _pictures: &mut Batch, _rng: &mut ChaCha8Rng) {}

    /// Most pictures that go through the network at once, for `batch` normal ones.
    fn pictures_at_once(&self, batch: usize) -> usize;

    /// What it remembers from step to step, for a checkpoint; nothing unless it says so.
    fn memory(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes back what [`Objective::memory`] gave; `None` if that was not for pictures of
    /// `picture_len` values.
    fn remember(&mut self, memory: &[u8], _picture_len: usize) -> Option<()> {
        memory.is_empty().then_some(())
    }

    /// What the model so far takes for normal: up to `count` pictures, for methods that draw samples.
    fn samples(&self, _count: usize) -> Vec<Vec<f32>> {
        Vec::new()
    }

    /// Computes the loss on normal pictures and collects its parameter gradient in the student.
    fn step(&mut self, normal: &[f32], student: &mut Student, rng: &mut ChaCha8Rng) -> StepReport;
}
