//! The training loop that all learned energies share.
//!
//! An [`Objective`] turns a batch of normal pictures into a loss and its parameter gradient; the
//! loop does the rest: hold pictures back, draw and vary batches, step, average the weights, notice
//! divergence, report, stop.

use std::time::Instant;

use groundstate_nn::{AdamW, AdamWSettings, LastLayer, Parameters, Schedule, WeightAverage};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::student::{Start, Student};
use super::{Control, Lesson, Observer, Progress, Stage, TrainError};
use crate::detector::CurvePoint;
use crate::image::Image;
use crate::model::{Batch, Learned, NetworkConfig, Reference};

/// Resolution of the learning-rate schedule.
const SCHEDULE_STEPS: u64 = 100_000;
/// Weight of the newest value in the running means that progress shows.
const RUNNING_SHARE: f64 = 0.02;
/// Points of the course of training that are kept.
const CURVE_POINTS: u64 = 200;
/// Pictures that the starting values are fitted to.
const FITTING_PICTURES: usize = 4;
/// Times that a diverging training is put back before it ends.
const MAX_RECOVERIES: u32 = 3;
/// Steps between snapshots that a diverging training is put back to.
const SNAPSHOT_STEPS: u64 = 100;

/// Settings of the optimiser and of how batches are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimiserConfig {
    /// Optimiser steps, unless the budget ends before them; the method's own when absent.
    pub steps: Option<u64>,
    /// Normal pictures per step.
    pub batch: usize,
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
            batch: 16,
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
        if !(1..=1024).contains(&self.batch) {
            return error("optimiser.batch", self.batch as f64, "1 to 1024");
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

/// Loss of one step and what it saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepReport {
    pub(super) loss: f64,
    /// Mean energy of negatives minus mean energy of normal pictures.
    pub(super) energy_gap: Option<f64>,
}

/// A learning objective: what tells one learned method from another.
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
    /// values can be fitted to that.
    fn disturb(&mut self, _pictures: &mut Batch, _rng: &mut ChaCha8Rng) {}

    /// Most pictures that go through the network at once, for `batch` normal ones.
    fn pictures_at_once(&self, batch: usize) -> usize;

    /// Computes the loss on normal pictures and collects its parameter gradient in the student.
    fn step(&mut self, normal: &[f32], student: &mut Student, rng: &mut ChaCha8Rng) -> StepReport;
}

/// How long to learn, and from what start.
pub(super) struct Plan<'a> {
    pub(super) optimiser: &'a OptimiserConfig,
    pub(super) network: &'a NetworkConfig,
    pub(super) steps: u64,
    pub(super) learning_rate: f64,
    pub(super) betas: (f64, f64),
    pub(super) budget_seconds: f64,
    pub(super) reference: Option<Reference>,
}

/// What the loop ends with.
pub(super) struct Outcome {
    pub(super) learned: Learned,
    pub(super) steps: u64,
    pub(super) curve: Vec<CurvePoint>,
    pub(super) notes: Vec<String>,
}

/// Indices of the pictures to learn from and of those held back, drawn by the seed.
pub(super) fn split(count: usize, share: f64, seed: u64) -> Result<(Vec<usize>, Vec<usize>), TrainError> {
    // Statistics of each held-out picture come from at least two others.
    const LEAST: usize = 3;
    if count < 2 * LEAST {
        return Err(TrainError::TooFewPictures { found: count, expected: 2 * LEAST });
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed ^ 0x5eed));
    let held_out = ((count as f64 * share).round() as usize).clamp(LEAST, count - LEAST);
    let mut rest = order.split_off(held_out);
    order.sort_unstable();
    rest.sort_unstable();
    Ok((rest, order))
}

/// Trains a network on `pictures` until its steps, its budget or the observer end it.
pub(super) fn learn(
    objective: &mut dyn Objective,
    pictures: &[&Image],
    plan: Plan,
    lesson: &Lesson,
    observer: &mut Observer,
) -> Result<Outcome, TrainError> {
    let settings = plan.optimiser;
    let mut like = Batch::of(pictures.iter().step_by(pictures.len().div_ceil(FITTING_PICTURES)).copied());
    let at_once = objective.pictures_at_once(settings.batch);
    let mut rng = ChaCha8Rng::seed_from_u64(lesson.seed);
    objective.disturb(&mut like, &mut rng);
    let zero = objective.starts_at_zero() || plan.reference.is_some();
    let last = if zero { LastLayer::Zero } else { LastLayer::Random };
    let start = Start { network: plan.network, last, seed: lesson.seed };
    let mut student = Student::new(start, &like, at_once, objective.noise_level(), plan.reference)?;
    let adam = AdamWSettings {
        beta1: plan.betas.0,
        beta2: plan.betas.1,
        weight_decay: settings.weight_decay,
        ..Default::default()
    };
    let mut optimiser = AdamW::new(adam, &student.learned().parameters)?;
    let mut average = WeightAverage::new(settings.average_decay, &student.learned().parameters)?;
    let schedule = Schedule::WarmUpCosine {
        peak: plan.learning_rate,
        last: plan.learning_rate * 0.02,
        warm_up_steps: SCHEDULE_STEPS / 50,
        steps: SCHEDULE_STEPS,
    };
    let mut watch = Watch::new(&student.learned().parameters);
    let mut course = Course::new(plan.steps);
    let mut notes = Vec::new();
    let began = Instant::now();
    let mut step = 0;
    while step < plan.steps {
        let seconds = lesson.start.elapsed().as_secs_f64();
        let by_time = (seconds / plan.budget_seconds).min(1.0);
        let by_steps = step as f64 / plan.steps as f64;
        // Stated steps fix the whole course, so that a seed gives the same weights on any machine.
        let done = if settings.steps.is_some() { by_steps } else { by_time.max(by_steps) };
        if by_time >= 1.0 && step > 0 {
            notes.push(format!("the budget of {} s ended training after {step} steps", plan.budget_seconds));
            break;
        }
        let normal = draw(pictures, settings, &mut rng);
        let report = objective.step(&normal, &mut student, &mut rng);
        let mut norm = 0.0;
        let rate = schedule.rate((done * SCHEDULE_STEPS as f64) as u64) * watch.caution();
        student.update(|parameters, gradient| {
            norm = gradient.clip(settings.gradient_clip);
            if report.loss.is_finite() && norm.is_finite() {
                optimiser.step(parameters, gradient, rate);
            }
        });
        step += 1;
        if let Some(kept) = watch.diverged(&report, norm, student.learned()) {
            if watch.recoveries > MAX_RECOVERIES {
                notes.push(format!(
                    "training diverged for good at step {step}; the last sound weights are kept"
                ));
                average = WeightAverage::new(settings.average_decay, &kept)?;
                break;
            }
            notes.push(format!(
                "training diverged at step {step} and was put back with half the learning rate"
            ));
            student.restore(&kept);
            optimiser = AdamW::new(adam, &kept)?;
            average = WeightAverage::new(settings.average_decay, &kept)?;
        } else {
            average.update(&student.learned().parameters);
            watch.keep(step, average.parameters());
        }
        let seconds = lesson.start.elapsed().as_secs_f64();
        course.add(step, seconds, report);
        let per_second = (step * settings.batch as u64) as f64 / began.elapsed().as_secs_f64();
        if observer(&course.progress(step, seconds, done, per_second)) == Control::Stop {
            notes.push(format!("training was stopped after {step} steps"));
            break;
        }
    }
    let Learned { network, noise_level, .. } = student.learned().clone();
    let learned = Learned::new(network, average.parameters().clone(), noise_level);
    Ok(Outcome { learned, steps: step, curve: course.points, notes })
}

/// A batch of normal pictures, each varied a little in light and place.
fn draw(pictures: &[&Image], settings: &OptimiserConfig, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut batch = Vec::with_capacity(settings.batch * pictures[0].pixels.len());
    for _ in 0..settings.batch {
        let picture = pictures[rng.random_range(0..pictures.len())];
        let limit = settings.shift_px as i32;
        let shift = (rng.random_range(-limit..=limit), rng.random_range(-limit..=limit));
        let gain = 1.0 + settings.contrast_jitter * rng.random_range(-1.0..=1.0f32);
        let offset = settings.brightness_jitter * rng.random_range(-1.0..=1.0f32);
        let first = batch.len();
        push_shifted(&mut batch, picture, shift);
        for value in &mut batch[first..] {
            *value = ((*value - 0.5) * gain + 0.5 + offset).clamp(0.0, 1.0);
        }
    }
    batch
}

/// Appends a picture moved by whole pixels; its border is repeated.
fn push_shifted(batch: &mut Vec<f32>, picture: &Image, (right, down): (i32, i32)) {
    let Image { width, height, channels, ref pixels } = *picture;
    for y in 0..height {
        let from_y = (y as isize - down as isize).clamp(0, height as isize - 1) as usize;
        for x in 0..width {
            let from_x = (x as isize - right as isize).clamp(0, width as isize - 1) as usize;
            let at = (from_y * width + from_x) * channels;
            batch.extend_from_slice(&pixels[at..at + channels]);
        }
    }
}

/// Notices divergence and remembers weights from before it.
struct Watch {
    sound: [Parameters; 2],
    recoveries: u32,
    usual_norm: f64,
}

impl Watch {
    fn new(parameters: &Parameters) -> Self {
        Self { sound: [parameters.clone(), parameters.clone()], recoveries: 0, usual_norm: 0.0 }
    }

    /// Factor on the learning rate: halved at each recovery.
    fn caution(&self) -> f64 {
        0.5f64.powi(self.recoveries as i32)
    }

    /// Weights to go back to, if this step shows that training has run away: a loss or gradient
    /// that is not finite, or a gradient a thousand times its usual size.
    fn diverged(&mut self, report: &StepReport, norm: f64, learned: &Learned) -> Option<Parameters> {
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
    fn keep(&mut self, step: u64, parameters: &Parameters) {
        if step.is_multiple_of(SNAPSHOT_STEPS) {
            self.sound.swap(0, 1);
            self.sound[1] = parameters.clone();
        }
    }
}

/// The course of training: running means for progress, block means for the record.
struct Course {
    points: Vec<CurvePoint>,
    every: u64,
    block: Vec<StepReport>,
    loss: Option<f64>,
    gap: Option<f64>,
}

impl Course {
    fn new(steps: u64) -> Self {
        Self {
            points: Vec::new(),
            every: steps.div_ceil(CURVE_POINTS),
            block: Vec::new(),
            loss: None,
            gap: None,
        }
    }

    fn add(&mut self, step: u64, seconds: f64, report: StepReport) {
        let blend =
            |old: Option<f64>, new: f64| Some(old.map_or(new, |old| old + RUNNING_SHARE * (new - old)));
        self.loss = blend(self.loss, report.loss);
        if let Some(gap) = report.energy_gap {
            self.gap = blend(self.gap, gap);
        }
        self.block.push(report);
        if self.block.len() as u64 >= self.every {
            let n = self.block.len() as f64;
            let gaps: Option<Vec<f64>> = self.block.iter().map(|r| r.energy_gap).collect();
            self.points.push(CurvePoint {
                seconds,
                step,
                loss: self.block.iter().map(|r| r.loss).sum::<f64>() / n,
                energy_gap: gaps.map(|gaps| gaps.iter().sum::<f64>() / n),
            });
            self.block.clear();
        }
    }

    fn progress(&self, step: u64, seconds: f64, done: f64, images_per_second: f64) -> Progress {
        Progress {
            stage: Stage::Learn,
            seconds,
            step,
            done: Some(done),
            loss: self.loss,
            energy_gap: self.gap,
            images_per_second: Some(images_per_second),
        }
    }
}
