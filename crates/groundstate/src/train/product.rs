//! Method `product`: the closed form and networks that tell normal pictures from corrupted ones.
//!
//! p(x) ∝ p₀(x) exp(−Σ E_θ(x)), a product of experts (Hinton 2002, *Training products of experts by minimizing
//! contrastive divergence*): the closed form knows what every position looks like, a network, which does not know
//! where it looks, knows what surfaces and edges look like anywhere. Local energies are brought to mean 0 and spread 1
//! on normal pictures that they were not fitted to, and those of a network weighted by how much it has
//! learned: the share 1 − loss / ln 2 of what there is to know about where a picture was corrupted.
//!
//! Everything is cross-fitted: no network sees the fold that it is calibrated on, so every picture is both learned
//! from and calibrated with.

use std::f64::consts::LN_2;

use super::checkpoint::PARTS;
use super::gaussian::ClosedForm;
use super::learned::{LearnedMethod, Learning};
use super::progress::Control;
use super::{
    EVALUATION_BATCH, Lesson, Method, Observer, Progress, Stage, TrainConfig, TrainError, Trained, read,
};
use crate::detector::CurvePoint;
use crate::image::Image;
use crate::model::{Batch, Energy, EnergyModel, FeatureBank, Form, Gaussian, Learned, Reference};
use crate::score::{MapKind, Reading, Stabiliser};

/// Networks, each of which learns from all pictures but its own share of them.
const NETWORKS: usize = PARTS;
/// Folds of the closed form, a multiple of [`NETWORKS`]: the pictures of a fold are unseen by one network.
const FOLDS: usize = 4;
/// With fewer pictures the closed form stays alone.
const LEAST_PICTURES: usize = 8;
/// With less time for each network the closed form stays alone: it would not learn enough to help.
const LEAST_SECONDS: f64 = 20.0;
/// Loss of a network that has learned enough to help; one that knows nothing has ln 2.
const LEARNED_LOSS: f64 = 0.4;
/// Share of a course of training that its last loss is the mean of.
const LAST_SHARE: usize = 5;
/// Pictures that the spread of an energy is estimated from.
const SPREAD_PICTURES: usize = 96;

/// The closed form times networks.
pub(super) struct Product {
    pub(super) learning: fn(&TrainConfig) -> Learning,
    pub(super) config: TrainConfig,
}

/// Closed forms fitted to all pictures and to all but one fold of them.
struct CrossFit {
    whole: Reference,
    without: Vec<Reference>,
}

/// Networks with weighted local energies, and what is to be known of their training.
#[derive(Default)]
struct Taught {
    /// Each with the number of its share.
    networks: Vec<(usize, Learned)>,
    steps: u64,
    /// Of each network.
    planned_steps: Option<u64>,
    curve: Vec<CurvePoint>,
    notes: Vec<String>,
}

impl Method for Product {
    fn train(&self, lesson: &Lesson, observer: &mut Observer) -> Result<Trained, TrainError> {
        if lesson.pictures.len() < LEAST_PICTURES {
            let note = format!("fewer than {LEAST_PICTURES} pictures: the closed form without networks");
            return self.closed_form(lesson, note, observer);
        }
        let begun = lesson.start.elapsed().as_secs_f64();
        let closed_forms = CrossFit::new(lesson, &self.config, observer)?;
        let fitted = lesson.start.elapsed().as_secs_f64();
        // Reading what was held out takes longer, with gradients and networks.
        let end = self.config.budget_seconds - 2.5 * (fitted - begun);
        if self.config.optimiser.steps.is_none() && end - fitted < LEAST_SECONDS * NETWORKS as f64 {
            let note = "the budget leaves no time for networks: the closed form alone".to_owned();
            return self.closed_form(lesson, note, observer);
        }
        let taught = self.teach(lesson, end, observer)?;
        if taught.networks.is_empty() {
            return self.closed_form(lesson, taught.notes.join("; "), &mut |_| Control::Continue);
        }
        observer(&Progress::stage(Stage::Calibrate, lesson.start));
        let share = 1.0 / taught.networks.len() as f32;
        let networks = taught.networks.iter().map(|(_, network)| network.clone().rescaled(share, 0.0));
        Ok(Trained {
            energy: EnergyModel::Tilted(closed_forms.whole.clone(), networks.collect()),
            held_out: closed_forms.held_out(&taught.networks, lesson.pictures),
            stabiliser: Stabiliser::Identity,
            // As for the closed form alone.
            default_score: if lesson.registered { "energy_top" } else { "energy_z_top" },
            default_map: if lesson.registered { MapKind::Energy } else { MapKind::FreeEnergy },
            pictures: lesson.pictures.len(),
            steps: taught.steps,
            planned_steps: taught.planned_steps,
            curve: taught.curve,
            notes: taught.notes,
            samples: Vec::new(),
        })
    }
}

impl Product {
    /// The closed form alone, and why.
    fn closed_form(
        &self,
        lesson: &Lesson,
        note: String,
        observer: &mut Observer,
    ) -> Result<Trained, TrainError> {
        let mut trained = ClosedForm { config: self.config.gaussian.clone() }.train(lesson, observer)?;
        trained.notes.push(note);
        Ok(trained)
    }

    /// Trains the networks one after another until `end`, in seconds since the start of the lesson.
    fn teach(&self, lesson: &Lesson, end: f64, observer: &mut Observer) -> Result<Taught, TrainError> {
        let mut taught = Taught { planned_steps: self.config.optimiser.steps, ..Taught::default() };
        // The first steps say little of how long the others will take.
        let by_time = if self.config.optimiser.steps.is_some() { 0.0 } else { 1.0 / end };
        for share in 0..NETWORKS {
            let now = lesson.start.elapsed().as_secs_f64();
            let mut config = self.config.clone();
            config.network.coordinates = false;
            config.optimiser.steps = taught.planned_steps;
            config.budget_seconds = now + (end - now).max(0.0) / (NETWORKS - share) as f64;
            let method = LearnedMethod { learning: (self.learning)(&config), config };
            let of_share = Lesson {
                pictures: lesson.pictures,
                registered: lesson.registered,
                seed: lesson.seed.wrapping_add(share as u64),
                start: lesson.start,
                keeper: lesson.keeper.as_ref().map(|keeper| keeper.of_part(share)),
            };
            let seen: Vec<&Image> = others(lesson.pictures, share, NETWORKS).collect();
            let mut stopped = false;
            let trained = method.learn(&of_share, &seen, &mut |progress| {
                let steps = progress.done.map(|done| (share as f64 + done) / NETWORKS as f64);
                let done = steps.map(|steps| steps.max(progress.seconds * by_time).min(1.0));
                let control = observer(&Progress { done, ..progress.clone() });
                stopped |= control == Control::Stop;
                control
            })?;
            taught.add(share, trained, lesson.pictures);
            if stopped {
                break;
            }
        }
        Ok(taught)
    }
}

impl Taught {
    /// Adds the network that a training ended in, if it has learned.
    fn add(&mut self, share: usize, trained: Trained, pictures: &[Image]) {
        let before = self.steps;
        self.steps += trained.steps;
        self.planned_steps = trained.planned_steps;
        self.notes.extend(trained.notes);
        let last = &trained.curve[trained.curve.len() - trained.curve.len().div_ceil(LAST_SHARE)..];
        let loss = last.iter().map(|point| point.loss).sum::<f64>() / last.len() as f64;
        self.curve.extend(trained.curve.iter().map(|p| CurvePoint { step: before + p.step, ..*p }));
        match trained.energy {
            EnergyModel::Learned(network) if loss < LEARNED_LOSS => {
                let unseen: Vec<&Image> = members(pictures, share, NETWORKS).collect();
                let (mean, spread) = moments([(&network as &dyn Energy, unseen)]);
                let weight = (1.0 - loss / LN_2) as f32;
                self.networks.push((share, network.rescaled(weight / spread, mean)));
            }
            _ => self.notes.push(format!(
                "network {} of {NETWORKS} has not learned enough (loss {loss:.2}) and is left out",
                share + 1
            )),
        }
    }
}

impl CrossFit {
    fn new(lesson: &Lesson, config: &TrainConfig, observer: &mut Observer) -> Result<Self, TrainError> {
        let mut report = |done: usize| {
            let done = Some(done as f64 / (FOLDS + 2) as f64);
            let progress = Progress { done, ..Progress::stage(Stage::Fit, lesson.start) };
            if observer(&progress) == Control::Stop { Err(TrainError::Stopped) } else { Ok(()) }
        };
        report(0)?;
        let all: Vec<&Image> = lesson.pictures.iter().collect();
        let bank = FeatureBank::new(&all, FOLDS, &config.gaussian)?;
        let mut fit = |without: Option<usize>| -> Result<Reference, TrainError> {
            report(without.map_or(FOLDS + 1, |fold| fold + 1))?;
            let gaussian: Gaussian = bank.fit(without)?;
            Ok(Reference { gaussian, form: Form::Distance, offset: 0.0, scale: 1.0 })
        };
        let mut without = (0..FOLDS).map(|fold| fit(Some(fold))).collect::<Result<Vec<_>, _>>()?;
        let mut whole = fit(None)?;
        drop(bank);
        let unseen = without.iter().enumerate().map(|(fold, reference)| {
            (reference as &dyn Energy, members(lesson.pictures, fold, FOLDS).collect())
        });
        let (mean, spread) = moments(unseen);
        for reference in without.iter_mut().chain([&mut whole]) {
            (reference.offset, reference.scale) = (mean, 1.0 / spread);
        }
        Ok(Self { whole, without })
    }

    /// What energies say of the pictures that neither their closed form nor their network has seen.
    fn held_out(self, networks: &[(usize, Learned)], pictures: &[Image]) -> Vec<(usize, Reading)> {
        let mut held_out = Vec::with_capacity(pictures.len());
        for (fold, reference) in self.without.into_iter().enumerate() {
            let unseen_by = networks.iter().find(|(share, _)| *share == fold % NETWORKS);
            let Some((_, network)) = unseen_by else { continue };
            let energy = EnergyModel::Tilted(reference, vec![network.clone()]);
            let unseen: Vec<&Image> = members(pictures, fold, FOLDS).collect();
            let readings = read(&energy, &unseen).into_iter().enumerate();
            held_out.extend(readings.map(|(n, reading)| (fold + n * FOLDS, reading)));
        }
        held_out.sort_by_key(|(index, _)| *index);
        held_out
    }
}

/// Mean and spread of the local energies of energies, each on some of the pictures that it has not seen.
fn moments<'a>(unseen: impl IntoIterator<Item = (&'a dyn Energy, Vec<&'a Image>)>) -> (f32, f32) {
    let (mut count, mut sum, mut squares) = (0f64, 0f64, 0f64);
    for (energy, pictures) in unseen {
        let every = pictures.len().div_ceil(SPREAD_PICTURES);
        let some: Vec<&Image> = pictures.into_iter().step_by(every).collect();
        for chunk in some.chunks(EVALUATION_BATCH) {
            let maps = energy.local_energies(&Batch::of(chunk.iter().copied()));
            for value in maps.into_iter().flat_map(|map| map.values).map(f64::from) {
                count += 1.0;
                sum += value;
                squares += value * value;
            }
        }
    }
    let mean = sum / count;
    let variance = (squares / count - mean * mean).max(0.0);
    (mean as f32, (variance.sqrt() as f32).max(1e-6))
}

/// Every `of`-th picture, the first being number `part`.
fn members(pictures: &[Image], part: usize, of: usize) -> impl Iterator<Item = &Image> {
    pictures.iter().skip(part).step_by(of)
}

/// All pictures but the [`members`].
fn others(pictures: &[Image], part: usize, of: usize) -> impl Iterator<Item = &Image> {
    pictures.iter().enumerate().filter(move |(index, _)| index % of != part).map(|(_, picture)| picture)
}
