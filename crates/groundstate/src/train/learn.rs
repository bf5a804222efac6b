//! The training loop that all learned energies share: how many steps, when to report, when to stop.
//!
//! A budget of time is turned into a number of steps once, before the first step, and that number
//! alone shapes the training: with it a seed gives the same weights whatever the clock says later.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::checkpoint::Keeper;
use super::learner::{Health, Learner, Saved, Setting};
use super::objective::Objective;
use super::{Control, EXHIBITED, Lesson, Observer, TrainError};
use crate::detector::CurvePoint;
use crate::image::Image;
use crate::model::Learned;

/// Most steps that are taken to measure how long one takes.
const TRIAL_STEPS: u32 = 20;
/// Most of the budget that the measurement takes once it has a step, and most time.
const TRIAL_SHARE: f64 = 0.04;
const TRIAL_TIME: Duration = Duration::from_secs(2);
/// Share of the time left that is planned with: steps may become slower than they were measured.
const PLANNED_SHARE: f64 = 0.95;

/// How long to learn.
pub(super) struct Length {
    /// Steps that the user asked for.
    pub(super) stated_steps: Option<u64>,
    /// Most steps that are taken otherwise.
    pub(super) usual_steps: u64,
    /// Wall time, from the start of the lesson.
    pub(super) budget_seconds: f64,
}

/// What the loop ends with.
pub(super) struct Outcome {
    pub(super) learned: Learned,
    /// Steps taken.
    pub(super) steps: u64,
    /// Steps that the training was to have.
    pub(super) planned_steps: u64,
    pub(super) curve: Vec<CurvePoint>,
    pub(super) notes: Vec<String>,
    /// Samples of the model, for objectives that draw them.
    pub(super) samples: Vec<Image>,
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

/// Trains a network until its steps, its budget or the observer end it.
pub(super) fn learn(
    setting: &Setting,
    objective: &dyn Fn() -> Result<Box<dyn Objective>, TrainError>,
    length: &Length,
    lesson: &Lesson,
    observer: &mut Observer,
) -> Result<Outcome, TrainError> {
    let keeper = lesson.keeper.as_ref();
    let saved: Option<Saved> = keeper.map(Keeper::saved).transpose()?.flatten();
    let stated = length.stated_steps.or(lesson.agreed_steps.get().copied());
    let planned_steps = match (&saved, stated) {
        (Some(saved), _) => saved.steps(),
        (None, Some(steps)) => steps,
        (None, None) => {
            let trial = Learner::new(setting, objective()?, length.usual_steps)?;
            let affordable = affordable_steps(trial, length, lesson.start)?;
            *lesson.agreed_steps.get_or_init(|| affordable)
        }
    };
    let mut learner = Learner::new(setting, objective()?, planned_steps)?;
    let seconds_before = saved.as_ref().map_or(0.0, |saved| saved.seconds);
    if let (Some(saved), Some(keeper)) = (saved, keeper) {
        learner.restore(saved).ok_or_else(|| keeper.damaged())?;
    }
    let seconds = || seconds_before + lesson.start.elapsed().as_secs_f64();
    let (first_step, began) = (learner.state().step, Instant::now());
    while learner.state().step < planned_steps {
        let step = learner.state().step;
        if seconds() >= length.budget_seconds && step > 0 {
            let budget = length.budget_seconds;
            learner.note(format!(
                "the budget of {budget} s ended training after {step} of {planned_steps} steps"
            ));
            break;
        }
        let health = learner.step()?;
        if health == Health::Lost {
            break;
        }
        if let Some(keeper) = keeper.filter(|keeper| keeper.is_due()) {
            keeper.save(&learner.saved(seconds()))?;
        }
        let state = learner.state();
        let pictures = (state.step - first_step) * setting.batch as u64;
        let images_per_second = pictures as f64 / began.elapsed().as_secs_f64();
        let progress = state.course.progress(state.step, planned_steps, seconds(), images_per_second);
        if observer(&progress) == Control::Stop {
            let note = format!("training was stopped after {} steps", state.step);
            learner.note(note);
            break;
        }
    }
    // What comes after it may be killed, too.
    if let Some(keeper) = keeper {
        keeper.save(&learner.saved(seconds()))?;
    }
    let samples = learner.samples(EXHIBITED);
    let (learned, state) = learner.finish();
    let steps = state.step;
    Ok(Outcome { learned, steps, planned_steps, curve: state.course.points, notes: state.notes, samples })
}

/// Steps that the budget has room for, at the speed of a `trial` that is thrown away.
fn affordable_steps(mut trial: Learner, length: &Length, start: Instant) -> Result<u64, TrainError> {
    let limit = TRIAL_TIME.as_secs_f64().min(TRIAL_SHARE * length.budget_seconds);
    // The first step also pays for what is done once.
    trial.step()?;
    let began = Instant::now();
    let mut taken = 0;
    while taken < TRIAL_STEPS && (taken == 0 || began.elapsed().as_secs_f64() < limit) {
        trial.step()?;
        taken += 1;
    }
    let seconds_per_step = began.elapsed().as_secs_f64() / f64::from(taken);
    let left = length.budget_seconds - start.elapsed().as_secs_f64();
    let steps = (PLANNED_SHARE * left / seconds_per_step) as u64;
    Ok(steps.clamp(1, length.usual_steps))
}
