//! A network in the middle of its training, and one step of it.

use std::borrow::Cow;

use groundstate_nn::{AdamW, AdamWSettings, LastLayer, Parameters, Schedule, WeightAverage};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::course::Course;
use super::draw::draw;
use super::objective::{Objective, StepReport};
use super::student::{Start, Student};
use super::watch::Watch;
use super::{OptimiserConfig, TrainError};
use crate::image::Image;
use crate::model::{Batch, Learned, NetworkConfig, Reference};

/// Resolution of the learning-rate schedule.
const SCHEDULE_STEPS: u64 = 100_000;
/// Pictures that the starting values are fitted to.
const FITTING_PICTURES: usize = 4;

/// What a network learns from and how.
pub(super) struct Setting<'a> {
    pub(super) pictures: &'a [&'a Image],
    pub(super) seed: u64,
    pub(super) optimiser: &'a OptimiserConfig,
    /// Normal pictures per step.
    pub(super) batch: usize,
    /// Edge in pixels of what a step sees of a picture; at least the picture's for all of it.
    pub(super) window: usize,
    pub(super) network: &'a NetworkConfig,
    pub(super) learning_rate: f64,
    pub(super) betas: (f64, f64),
    pub(super) reference: Option<&'a Reference>,
}

/// Whether a training can go on after a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// It can.
    Sound,
    /// It has diverged once too often; the last sound weights are kept.
    Lost,
}

/// A training in progress: all that its next step depends on.
pub(super) struct Learner<'a> {
    setting: &'a Setting<'a>,
    objective: Box<dyn Objective>,
    student: Student,
    state: State,
}

/// A training as a checkpoint holds it.
#[derive(Serialize, Deserialize)]
pub(super) struct Saved<'a> {
    state: Cow<'a, State>,
    parameters: Cow<'a, Parameters>,
    memory: Vec<u8>,
    /// Wall time that the training has taken.
    pub(super) seconds: f64,
}

impl Saved<'_> {
    /// Steps of the whole training.
    pub(super) fn steps(&self) -> u64 {
        self.state.steps
    }
}

/// What changes from step to step, besides the weights and what the objective remembers.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// Steps taken.
    pub(super) step: u64,
    /// Steps of the whole training.
    pub(super) steps: u64,
    pub(super) course: Course,
    pub(super) notes: Vec<String>,
    rng: ChaCha8Rng,
    optimiser: AdamW,
    average: WeightAverage,
    watch: Watch,
}

impl<'a> Learner<'a> {
    /// A training of `steps` steps before its first.
    ///
    /// # Errors
    /// When the network cannot be built or a setting is out of range.
    pub(super) fn new(
        setting: &'a Setting<'a>,
        mut objective: Box<dyn Objective>,
        steps: u64,
    ) -> Result<Self, TrainError> {
        let mut like = setting.fitting_windows();
        let mut rng = ChaCha8Rng::seed_from_u64(setting.seed);
        objective.disturb(&mut like, &mut rng);
        let zero = objective.starts_at_zero() || setting.reference.is_some();
        let last = if zero { LastLayer::Zero } else { LastLayer::Random };
        let start = Start { network: setting.network, last, seed: setting.seed };
        let at_once = objective.pictures_at_once(setting.batch);
        let reference = setting.reference.cloned();
        let student = Student::new(start, &like, at_once, objective.noise_level(), reference)?;
        let parameters = &student.learned().parameters;
        let state = State {
            step: 0,
            steps,
            course: Course::new(steps),
            notes: Vec::new(),
            rng,
            optimiser: AdamW::new(setting.adam(), parameters)?,
            average: WeightAverage::new(setting.optimiser.average_decay, parameters)?,
            watch: Watch::new(parameters),
        };
        Ok(Self { setting, objective, student, state })
    }

    /// What a checkpoint of this training holds, after `seconds` of wall time.
    pub(super) fn saved(&self, seconds: f64) -> Saved<'_> {
        Saved {
            state: Cow::Borrowed(&self.state),
            parameters: Cow::Borrowed(&self.student.learned().parameters),
            memory: self.objective.memory(),
            seconds,
        }
    }

    /// Goes back to what was saved of this same training; `None` if it is of another form.
    pub(super) fn restore(&mut self, saved: Saved) -> Option<()> {
        let Saved { state, parameters, memory, .. } = saved;
        let own = &self.student.learned().parameters;
        let fits = parameters.same_form(own)
            && state.optimiser.fits(own)
            && state.average.parameters().same_form(own)
            && state.watch.fits(own)
            && state.step <= state.steps;
        if !fits {
            return None;
        }
        self.objective.remember(&memory, self.student.picture_len())?;
        self.student.restore(&parameters);
        self.state = state.into_owned();
        Some(())
    }

    /// Where the training is.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Takes one step.
    ///
    /// # Errors
    /// None that a checked setting allows.
    pub(super) fn step(&mut self) -> Result<Health, TrainError> {
        let Self { setting, objective, student, state } = self;
        let normal = draw(setting.pictures, setting.batch, setting.window, setting.optimiser, &mut state.rng);
        let report = objective.step(&normal, student, &mut state.rng);
        let done = state.step as f64 / state.steps as f64;
        let rate = setting.schedule().rate((done * SCHEDULE_STEPS as f64) as u64) * state.watch.caution();
        let mut norm = 0.0;
        student.update(|parameters, gradient| {
            norm = gradient.clip(setting.optimiser.gradient_clip);
            if report.loss.is_finite() && norm.is_finite() {
                state.optimiser.step(parameters, gradient, rate);
            }
        });
        state.step += 1;
        state.course.add(state.step, report);
        self.recover(&report, norm)
    }

    /// Goes back to sound weights if the step shows that training has run away.
    fn recover(&mut self, report: &StepReport, norm: f64) -> Result<Health, TrainError> {
        let Self { setting, student, state, .. } = self;
        let step = state.step;
        let Some(kept) = state.watch.diverged(report, norm, student.learned()) else {
            state.average.update(&student.learned().parameters);
            state.watch.keep(step, state.average.parameters());
            return Ok(Health::Sound);
        };
        state.average = WeightAverage::new(setting.optimiser.average_decay, &kept)?;
        if state.watch.is_hopeless() {
            state
                .notes
                .push(format!("training diverged for good at step {step}; the last sound weights are kept"));
            return Ok(Health::Lost);
        }
        state
            .notes
            .push(format!("training diverged at step {step} and was put back with half the learning rate"));
        student.restore(&kept);
        state.optimiser = AdamW::new(setting.adam(), &kept)?;
        Ok(Health::Sound)
    }

    /// Adds what the user should know.
    pub(super) fn note(&mut self, note: String) {
        self.state.notes.push(note);
    }

    /// Samples of the model so far, for objectives that draw them.
    pub(super) fn samples(&self, count: usize) -> Vec<Image> {
        let (height, width, channels) = self.student.picture_shape();
        let picture = |pixels| Image { width, height, channels, pixels };
        self.objective.samples(count).into_iter().map(picture).collect()
    }

    /// The network with the average of its weights, and how it came to be.
    pub(super) fn finish(self) -> (Learned, State) {
        let Learned { network, noise_level, .. } = self.student.learned().clone();
        let learned = Learned::new(network, self.state.average.parameters().clone(), noise_level);
        (learned, self.state)
    }
}

impl Setting<'_> {
    /// What the starting values are fitted to: the middle of some pictures.
    fn fitting_windows(&self) -> Batch {
        let every = self.pictures.len().div_ceil(FITTING_PICTURES);
        let windows: Vec<Image> =
            self.pictures.iter().step_by(every).map(|p| p.middle(self.window)).collect();
        Batch::of(&windows)
    }

    fn adam(&self) -> AdamWSettings {
        let (beta1, beta2) = self.betas;
        AdamWSettings { beta1, beta2, weight_decay: self.optimiser.weight_decay, ..Default::default() }
    }

    fn schedule(&self) -> Schedule {
        Schedule::WarmUpCosine {
            peak: self.learning_rate,
            last: self.learning_rate * 0.02,
            warm_up_steps: SCHEDULE_STEPS / 50,
            steps: SCHEDULE_STEPS,
        }
    }
}
