//! Divergence: how it is noticed, and the weights from before it.

use groundstate_nn::Parameters;
use serde::{Deserialize, Serialize};

use super::objective::StepReport;
use crate::model::Learned;

/// Times that a diverging training is put back before it ends.
const MAX_RECOVERIES: u32 = 3;
/// Steps between snapshots that a diverging training is put back to.
const SNAPSHOT_STEPS: u64 = 100;

/// Notices divergence and remembers weights from before it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Watch {
    sound: [Parameters; 2],
    recoveries: u32,
    usual_norm: f64,
}

impl Watch {
    pub(super) fn new(parameters: &Parameters) -> Self {
        Self { sound: [parameters.clone(), parameters.clone()], recoveries: 0, usual_norm: 0.0 }
    }

    /// Whether it watches over parameters of this form.
    pub(super) fn fits(&self, parameters: &Parameters) -> bool {
        self.sound.iter().all(|sound| sound.same_form(parameters))
    }

    /// Factor on the learning rate: halved at each recovery.
    pub(super) fn caution(&self) -> f64 {
        0.5f64.powi(self.recoveries as i32)
    }

    /// Whether it was put back too often to try again.
    pub(super) fn is_hopeless(&self) -> bool {
        self.recoveries > MAX_RECOVERIES
    }

    /// Weights to go back to, if this step shows that training has run away: a loss or gradient
    /// that is not finite, or a gradient a thousand times its usual size.
    pub(super) fn diverged(
        &mut self,
        report: &StepReport,
        norm: f64,
        learned: &Learned,
    ) -> Option<Parameters> {
        let finite = report.loss.is_finite() && norm.is_finite() && learned.parameters.is_finite();
        let runaway = self.usual_norm > 0.0 && norm > 1e3 * self.usual_norm.max(1e-3);
        if finite && !runaway {
            self.usual_norm =
                if self.usual_norm == 0.0 { norm } else { 0.99 * self.usual_norm + 0.01 * norm };
            return None;
        }
        self.recoveries += 1;
        Some(self.sound[0].clone())
    }

    /// Keeps two snapshots; the older one is from at least [`SNAPSHOT_STEPS`] before.
    pub(super) fn keep(&mut self, step: u64, parameters: &Parameters) {
        if step.is_multiple_of(SNAPSHOT_STEPS) {
            self.sound.swap(0, 1);
            self.sound[1] = parameters.clone();
        }
    }
}
