//! What a training tells while it runs, and how it is stopped.

use std::time::Instant;

/// Called now and then during training; what it returns decides whether training goes on.
pub type Observer<'a> = dyn FnMut(&Progress) -> Control + 'a;

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Stop soon and keep what there is.
    Stop,
}

/// What training is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Fitting the closed-form energy.
    Fit,
    /// Taking optimiser steps.
    Learn,
    /// Taking statistics of held-out normal pictures.
    Calibrate,
}

/// How far training is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// What it is doing.
    pub stage: Stage,
    /// Wall time since the start of training.
    pub seconds: f64,
    /// Optimiser steps so far.
    pub step: u64,
    /// Share of the budget that is used, in `[0, 1]`, where there is one.
    pub done: Option<f64>,
    /// Running mean of the loss.
    pub loss: Option<f64>,
    /// Running mean of the energy gap: negatives minus normal pictures.
    pub energy_gap: Option<f64>,
    /// Normal pictures per second that training consumes.
    pub images_per_second: Option<f64>,
}

impl Progress {
    /// The start of a stage.
    pub fn stage(stage: Stage, start: Instant) -> Self {
        Self {
            stage,
            seconds: start.elapsed().as_secs_f64(),
            step: 0,
            done: None,
            loss: None,
            energy_gap: None,
            images_per_second: None,
        }
    }
}
