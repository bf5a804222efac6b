//! Settings of the optimiser, and the one door through which they are checked.

use serde::{Deserialize, Serialize};

use super::TrainError;

/// Settings of the optimiser and of how batches are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimiserConfig {
    /// Optimiser steps, unless the budget ends before them; the method's own when absent.
    pub steps: Option<u64>,
    /// Normal pictures per step; the method's own when absent.
    pub batch: Option<usize>,
    /// Peak learning rate; the method's own when absent.
    pub learning_rate: Option<f64>,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Decay of the weight average per step.
    pub average_decay: f64,
    /// Global norm that gradients are clipped to.
    pub gradient_clip: f64,
    /// Share of the normal pictures that is held back for statistics and calibration.
    pub held_out_share: f64,
    /// Most that a picture's brightness is shifted, in units of the pixel range.
    pub brightness_jitter: f32,
    /// Most that a picture's contrast is changed, as a share.
    pub contrast_jitter: f32,
    /// Most that a picture is moved, in pixels.
    pub shift_px: usize,
}

impl Default for OptimiserConfig {
    fn default() -> Self {
        Self {
            steps: None,
            batch: None,
            learning_rate: None,
            weight_decay: 1e-3,
            average_decay: 0.998,
            gradient_clip: 1.0,
            held_out_share: 0.15,
            brightness_jitter: 0.04,
            contrast_jitter: 0.1,
            shift_px: 2,
        }
    }
}

impl OptimiserConfig {
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let error = |setting, found: f64, expected| {
            Err(TrainError::Setting { setting, found: found.to_string(), expected })
        };
        if let Some(batch) = self.batch.filter(|batch| !(1..=1024).contains(batch)) {
            return error("optimiser.batch", batch as f64, "1 to 1024");
        }
        if self.steps == Some(0) {
            return error("optimiser.steps", 0.0, "at least 1");
        }
        if self.learning_rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return error("optimiser.learning_rate", self.learning_rate.unwrap_or(0.0), "a positive number");
        }
        if !(0.0..1.0).contains(&self.average_decay) {
            return error("optimiser.average_decay", self.average_decay, "a number in [0, 1)");
        }
        if self.gradient_clip.is_nan() || self.gradient_clip <= 0.0 {
            return error("optimiser.gradient_clip", self.gradient_clip, "a positive number");
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return error("optimiser.weight_decay", self.weight_decay, "zero or a positive number");
        }
        if !(self.held_out_share > 0.0 && self.held_out_share <= 0.5) {
            return error(
                "optimiser.held_out_share",
                self.held_out_share,
                "a number above 0 and at most 0.5",
            );
        }
        if self.shift_px > 64 {
            return error("optimiser.shift_px", self.shift_px as f64, "at most 64");
        }
        if !(0.0..=0.5).contains(&self.brightness_jitter) {
            return error(
                "optimiser.brightness_jitter",
                self.brightness_jitter.into(),
                "a number in [0, 0.5]",
            );
        }
        if !(0.0..=0.5).contains(&self.contrast_jitter) {
            return error("optimiser.contrast_jitter", self.contrast_jitter.into(), "a number in [0, 0.5]");
        }
        Ok(())
    }
}
