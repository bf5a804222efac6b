//! Method `product`: the closed form and networks that tell normal pictures from corrupted ones.
//!
//! p(x) ∝ p₀(x) exp(−Σ E_θ(x)), a product of experts (Hinton 2002, *Training products of experts by minimizing
//! contrastive divergence*): the closed form knows what every position looks like, a network, which does not know
//! where it looks, knows what surfaces and edges look like anywhere. Local energies are brought to mean 0 and spread 1
//! on normal pictures that they were not fitted to, and those of a network weighted by how much it has
//! learned: the share 1 − loss / ln 2 of what there is to know about where a picture was corrupted.
//!
//! On surfaces, where position explains little of what pictures look like, another closed form is a better judge and
//! takes part: that of the layers of each network, which looks at the picture at its full and at half resolution.
//!
//! Everything is cross-fitted: no network sees the fold that it is calibrated on, so every picture is both learned
//! from and calibrated with.

use std::f64::consts::LN_2;

use rayon::prelude::*;

use super::checkpoint::PARTS;
use super::folds::{members, others};
use super::gaussian::{ClosedForm, readout, shows_surface};
use super::learned::{LearnedMethod, Learning};
use super::learner::Saved;
use super::progress::{Control, Together};
use super::spread::Spread;
use super::{Lesson, Method, Observer, Progress, Stage, TrainConfig, TrainError, Trained, read};
use crate::detector::CurvePoint;
use crate::image::Image;
use crate::model::{EnergyModel, FeatureBank, Form, Gaussian, Learned, Reference, Sight};
use crate::score::{Reading, Stabiliser};

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
/// What comes after the networks takes at most so many times as long as the closed form.
const AFTERWARDS: f64 = 4.0;

/// The closed form times networks.
pub(super) struct Product {
    pub(super) learning: fn(&TrainConfig) -> Learning,
    pub(super) config: TrainConfig,
}

/// A closed form fitted to all pictures and to all but one fold of them.
struct CrossFit {
    whole: Reference,
    /// Each with the number of the fold.
    without: Vec<(usize, Reference)>,
}

/// A network that has learned.
struct Expert {
    /// The share of the pictures that it has not seen.
    share: usize,
    /// With local energies of a weight from 0 to 1.
    network: Learned,
}

/// The networks, and what is to be known of their training.
#[derive(Default)]
struct Taught {
    experts: Vec<Expert>,
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
        let (closed_form, surface) = self.fit(lesson, observer)?;
        let fitted = lesson.start.elapsed().as_secs_f64();
        // What comes after the networks: their densities, and reading what was held out with everything.
        let end = self.config.budget_seconds - AFTERWARDS * (fitted - begun);
        if self.config.optimiser.steps.is_none() && end - fitted < LEAST_SECONDS * NETWORKS as f64 {
            let note = "the budget leaves no time for networks: the closed form alone".to_owned();
            return self.closed_form(lesson, note, observer);
        }
        let taught = self.teach(lesson, end, observer)?;
        if taught.experts.is_empty() {
            return self.closed_form(lesson, taught.notes.join("; "), &mut |_| Control::Continue);
        }
        observer(&Progress::stage(Stage::Calibrate, lesson.start));
        // Elsewhere densities blur what the pyramid localizes.
        let dense: &[Expert] = if surface { &taught.experts } else { &[] };
        let densities = self.densities(dense, lesson.pictures)?;
        let share = 1.0 / taught.experts.len() as f32;
        let of_experts = densities.iter().map(|density| density.whole.clone().weighted(share));
        let references = std::iter::once(closed_form.whole.clone()).chain(of_experts).collect();
        let networks = taught.experts.iter().map(|expert| expert.network.clone().rescaled(share, 0.0));
        let reading = readout(lesson.registered, surface);
        Ok(Trained {
            energy: EnergyModel::Tilted(references, networks.collect()),
            held_out: held_out(&closed_form, &taught.experts, &densities, lesson.pictures),
            stabiliser: Stabiliser::Identity,
            default_score: reading.score,
            default_map: reading.map,
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

    /// The closed form of the pyramid, and whether its features are those of a surface.
    fn fit(&self, lesson: &Lesson, observer: &mut Observer) -> Result<(CrossFit, bool), TrainError> {
        let mut report = |done: usize| {
            let done = Some(done as f64 / (FOLDS + 2) as f64);
            let progress = Progress { done, ..Progress::stage(Stage::Fit, lesson.start) };
            if observer(&progress) == Control::Stop { Err(TrainError::Stopped) } else { Ok(()) }
        };
        report(0)?;
        let all: Vec<&Image> = lesson.pictures.iter().collect();
        let bank = FeatureBank::new(&all, FOLDS, &self.config.gaussian)?;
        let surface = shows_surface(&bank);
        Ok((CrossFit::new(bank, (0..FOLDS).collect(), lesson.pictures, &mut report)?, surface))
    }

    /// The closed forms of what experts see at each sight that the size of the pictures allows, with equal shares.
    fn densities(&self, experts: &[Expert], pictures: &[Image]) -> Result<Vec<CrossFit>, TrainError> {
        let edge = pictures[0].width;
        let sights = Sight::ALL.into_iter().filter(|sight| edge.is_multiple_of(sight.size_multiple()));
        let sights: Vec<Sight> = sights.collect();
        let share = 1.0 / sights.len() as f32;
        let pairs = experts.iter().flat_map(|expert| sights.iter().map(move |sight| (expert, *sight)));
        pairs.map(|(expert, sight)| Ok(self.density(expert, sight, pictures)?.weighted(share))).collect()
    }

    /// The closed form of what an expert sees.
    fn density(&self, expert: &Expert, sight: Sight, pictures: &[Image]) -> Result<CrossFit, TrainError> {
        let all: Vec<&Image> = pictures.iter().collect();
        let bank = FeatureBank::of_network(&expert.network, sight, &all, FOLDS, &self.config.gaussian)?;
        let unseen = (0..FOLDS).filter(|fold| fold % NETWORKS == expert.share).collect();
        CrossFit::new(bank, unseen, pictures, &mut |_| Ok(()))
    }

    /// Trains the networks, side by side if there are threads for it, until `end`, in seconds since the start of the
    /// lesson.
    fn teach(&self, lesson: &Lesson, end: f64, observer: &mut Observer) -> Result<Taught, TrainError> {
        let stated = self.config.optimiser.steps;
        // The first steps say little of how long the others will take.
        let together = Together::new(NETWORKS, if stated.is_some() { 0.0 } else { 1.0 / end }, observer);
        let at_once = rayon::current_num_threads().clamp(1, NETWORKS);
        let lessons: Vec<Lesson> = (0..NETWORKS).map(|share| lesson.of_share(share)).collect();
        // What goes on keeps the number of steps that it had, also for a network that was not saved yet.
        for keeper in lessons.iter().filter_map(|lesson| lesson.keeper.as_ref()) {
            if let Some(saved) = keeper.saved::<Saved>()? {
                lesson.agreed_steps.get_or_init(|| saved.steps());
            }
        }
        let learn = |(share, lesson): (usize, Lesson)| {
            if together.stopped() {
                return Ok(None);
            }
            let now = lesson.start.elapsed().as_secs_f64();
            let rounds = (NETWORKS - share).div_ceil(at_once);
            let mut config = self.config.clone();
            config.network.coordinates = false;
            config.budget_seconds = now + (end - now).max(0.0) / rounds as f64;
            let method = LearnedMethod { learning: (self.learning)(&config), config };
            let seen: Vec<&Image> = others(lesson.pictures, share, NETWORKS).collect();
            let trained = method.learn(&lesson, &seen, &mut |progress| together.observe(share, progress))?;
            together.end(share);
            Ok(Some(trained))
        };
        let trained: Vec<Option<Trained>> =
            lessons.into_par_iter().enumerate().map(learn).collect::<Result<_, TrainError>>()?;
        let mut taught = Taught { planned_steps: stated, ..Taught::default() };
        for (share, trained) in trained.into_iter().enumerate() {
            if let Some(trained) = trained {
                taught.add(share, trained, lesson.pictures);
            }
        }
        Ok(taught)
    }
}

impl<'a> Lesson<'a> {
    /// The lesson of the network that does not see a share of the pictures.
    fn of_share(&self, share: usize) -> Lesson<'a> {
        Lesson {
            pictures: self.pictures,
            registered: self.registered,
            seed: self.seed.wrapping_add(share as u64),
            start: self.start,
            agreed_steps: self.agreed_steps.clone(),
            keeper: self.keeper.as_ref().map(|keeper| keeper.of_part(share)),
        }
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
                let mut spread = Spread::default();
                spread.add(&network, &unseen);
                let (mean, spread) = spread.moments();
                let weight = (1.0 - loss / LN_2) as f32;
                self.experts.push(Expert { share, network: network.rescaled(weight / spread, mean) });
            }
            _ => self.notes.push(format!(
                "network {} of {NETWORKS} has not learned enough (loss {loss:.2}) and is left out",
                share + 1
            )),
        }
    }
}

impl CrossFit {
    /// Closed forms with local energies of mean 0 and spread 1 on the pictures of the `folds` that they were not fitted
    /// to.
    fn new(
        bank: FeatureBank,
        folds: Vec<usize>,
        pictures: &[Image],
        report: &mut dyn FnMut(usize) -> Result<(), TrainError>,
    ) -> Result<Self, TrainError> {
        let mut fit = |without: Option<usize>| -> Result<Reference, TrainError> {
            report(without.map_or(FOLDS + 1, |fold| fold + 1))?;
            let gaussian: Gaussian = bank.fit(without)?;
            Ok(Reference { gaussian, form: Form::Distance, offset: 0.0, scale: 1.0 })
        };
        let without = folds.into_iter().map(|fold| Ok((fold, fit(Some(fold))?)));
        let mut without = without.collect::<Result<Vec<_>, TrainError>>()?;
        let mut whole = fit(None)?;
        drop(bank);
        let mut spread = Spread::default();
        for (fold, reference) in &without {
            spread.add(reference, &members(pictures, *fold, FOLDS).collect::<Vec<_>>());
        }
        let (mean, spread) = spread.moments();
        for reference in without.iter_mut().map(|(_, reference)| reference).chain([&mut whole]) {
            (reference.offset, reference.scale) = (mean, 1.0 / spread);
        }
        Ok(Self { whole, without })
    }

    /// The same with local energies of this spread.
    fn weighted(self, weight: f32) -> Self {
        let without = self.without.into_iter().map(|(fold, reference)| (fold, reference.weighted(weight)));
        Self { without: without.collect(), whole: self.whole.weighted(weight) }
    }

    fn without(&self, fold: usize) -> Option<&Reference> {
        self.without.iter().find(|(of, _)| *of == fold).map(|(_, reference)| reference)
    }
}

/// What energies say of the pictures that neither their closed forms nor their network have seen.
fn held_out(
    closed_form: &CrossFit,
    experts: &[Expert],
    densities: &[CrossFit],
    pictures: &[Image],
) -> Vec<(usize, Reading)> {
    let mut held_out = Vec::with_capacity(pictures.len());
    for fold in 0..FOLDS {
        for expert in experts.iter().filter(|expert| expert.share == fold % NETWORKS) {
            let closed_forms = std::iter::once(closed_form).chain(densities);
            let references =
                closed_forms.filter_map(|closed_form| closed_form.without(fold).cloned()).collect();
            let energy = EnergyModel::Tilted(references, vec![expert.network.clone()]);
            let unseen: Vec<&Image> = members(pictures, fold, FOLDS).collect();
            let readings = read(&energy, &unseen).into_iter().enumerate();
            held_out.extend(readings.map(|(n, reading)| (fold + n * FOLDS, reading)));
        }
    }
    held_out.sort_by_key(|(index, _)| *index);
    held_out
}
