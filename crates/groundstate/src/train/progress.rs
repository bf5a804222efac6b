//! What a training tells while it runs, and how it is stopped.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Called now and then during training; what it returns decides whether training goes on.
pub type Observer<'a> = dyn FnMut(&Progress) -> Control + Send + 'a;

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

/// Networks that learn side by side, before one observer.
pub(super) struct Together<'a, 'b> {
    state: Mutex<State<'a, 'b>>,
    /// Share of the budget that a second uses, for trainings that time ends.
    per_second: f64,
}

struct State<'a, 'b> {
    observer: &'a mut Observer<'b>,
    stopped: bool,
    /// Of each network: what of its training is done, and how fast it goes on.
    done: Vec<f64>,
    images_per_second: Vec<f64>,
}

impl<'a, 'b> Together<'a, 'b> {
    pub(super) fn new(networks: usize, per_second: f64, observer: &'a mut Observer<'b>) -> Self {
        let (done, images_per_second) = (vec![0.0; networks], vec![0.0; networks]);
        Self { state: Mutex::new(State { observer, stopped: false, done, images_per_second }), per_second }
    }

    /// Tells the observer what all do, given the progress of one.
    pub(super) fn observe(&self, network: usize, progress: &Progress) -> Control {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.images_per_second[network] = progress.images_per_second.unwrap_or(0.0);
        let done = progress.done.map(|done| {
            state.done[network] = done;
            let steps = state.done.iter().sum::<f64>() / state.done.len() as f64;
            steps.max(progress.seconds * self.per_second).min(1.0)
        });
        let all = progress.images_per_second.map(|_| state.images_per_second.iter().sum());
        let control = (state.observer)(&Progress { done, images_per_second: all, ..progress.clone() });
        state.stopped |= control == Control::Stop;
        if state.stopped { Control::Stop } else { Control::Continue }
    }

    /// Notes that a network has ended its training.
    pub(super) fn end(&self, network: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.done[network], state.images_per_second[network]) = (1.0, 0.0);
    }

    /// Whether the observer has stopped them.
    pub(super) fn stopped(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopped
    }
}
