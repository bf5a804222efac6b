//! The learned methods: hold pictures back, learn, read what was held back.

use super::folds::members;
use super::learn::{Length, learn, split};
use super::learner::Setting;
use super::objective::Objective;
use super::spread::Spread;
use super::{Lesson, Method, Observer, Progress, Stage, TrainError, Trained, read};
use crate::image::{Fit, Image};
use crate::model::{EnergyModel, FeatureBank, Form, Gaussian, GaussianConfig, NetworkConfig, Reference};
use crate::score::{MapKind, Stabiliser};

/// Folds that the scale of a reference energy is estimated with.
const REFERENCE_FOLDS: usize = 2;

/// What differs between the learned methods besides their objective.
pub(super) struct Learning {
    pub(super) objective: fn(&super::TrainConfig) -> Result<Box<dyn Objective>, TrainError>,
    pub(super) steps: u64,
    pub(super) batch: usize,
    /// Edge in pixels of what a step sees of a picture.
    pub(super) window: fn(&super::TrainConfig) -> usize,
    pub(super) learning_rate: f64,
    pub(super) betas: (f64, f64),
    pub(super) reading: Readout,
    /// How it is read where parts are registered. A position is then no longer one place of the scene,
    /// and what normal pictures look like there says little about the next one.
    pub(super) reading_registered: Readout,
}

/// How a trained energy is read unless told otherwise.
pub(super) struct Readout {
    /// Image score for verdicts.
    pub(super) score: &'static str,
    /// The map that localizes.
    pub(super) map: MapKind,
}

/// A learned method with its settings.
pub(super) struct LearnedMethod {
    pub(super) learning: Learning,
    pub(super) config: super::TrainConfig,
}

impl Method for LearnedMethod {
    fn train(&self, lesson: &Lesson, observer: &mut Observer) -> Result<Trained, TrainError> {
        let share = self.config.optimiser.held_out_share;
        let (rest, held_out) = split(lesson.pictures.len(), share, lesson.seed)?;
        let choose =
            |indices: &[usize]| indices.iter().map(|&i| &lesson.pictures[i]).collect::<Vec<&Image>>();
        let trained = self.learn(lesson, &choose(&rest), observer)?;
        let readings = read(&trained.energy, &choose(&held_out));
        Ok(Trained { held_out: held_out.into_iter().zip(readings).collect(), ..trained })
    }
}

impl LearnedMethod {
    /// Learns from some of the pictures of a lesson; nothing is held out.
    pub(super) fn learn(
        &self,
        lesson: &Lesson,
        pictures: &[&Image],
        observer: &mut Observer,
    ) -> Result<Trained, TrainError> {
        let Self { learning, config } = self;
        let reference = if config.on_reference {
            observer(&Progress::stage(Stage::Fit, lesson.start));
            Some(fit_reference(pictures, &config.gaussian)?)
        } else {
            None
        };
        let window = (learning.window)(config);
        let windowed = window < pictures[0].width;
        // A tile or a window does not know where in its picture it is.
        let coordinates = config.network.coordinates && config.fit != Fit::Tile && !windowed;
        let setting = Setting {
            pictures,
            seed: lesson.seed,
            optimiser: &config.optimiser,
            batch: config.optimiser.batch.unwrap_or(learning.batch),
            window,
            network: &NetworkConfig { coordinates, ..config.network.clone() },
            learning_rate: config.optimiser.learning_rate.unwrap_or(learning.learning_rate),
            betas: learning.betas,
            reference: reference.as_ref(),
        };
        let length = Length {
            stated_steps: config.optimiser.steps,
            usual_steps: learning.steps,
            budget_seconds: config.budget_seconds,
        };
        let objective = || (learning.objective)(config);
        let outcome = learn(&setting, &objective, &length, lesson, observer)?;
        let energy = match reference {
            Some(reference) => EnergyModel::Tilted(vec![reference], vec![outcome.learned]),
            None => EnergyModel::Learned(outcome.learned),
        };
        let reading = if lesson.registered { &learning.reading_registered } else { &learning.reading };
        Ok(Trained {
            held_out: Vec::new(),
            energy,
            stabiliser: Stabiliser::Identity,
            default_score: reading.score,
            default_map: reading.map,
            pictures: pictures.len(),
            steps: outcome.steps,
            planned_steps: Some(outcome.planned_steps),
            curve: outcome.curve,
            notes: outcome.notes,
            samples: outcome.samples,
        })
    }
}

/// The closed-form energy, standardised: its local energies have mean 0 and spread 1 on normal
/// pictures that it was not fitted to.
fn fit_reference(pictures: &[&Image], config: &GaussianConfig) -> Result<Reference, TrainError> {
    let bank = FeatureBank::new(pictures, REFERENCE_FOLDS, config)?;
    let mut spread = Spread::default();
    for fold in 0..REFERENCE_FOLDS {
        let gaussian: Gaussian = bank.fit(Some(fold))?;
        spread.add(&gaussian, &members(pictures, fold, REFERENCE_FOLDS).copied().collect::<Vec<_>>());
    }
    let (offset, spread) = spread.moments();
    Ok(Reference { gaussian: bank.fit(None)?, form: Form::Quadratic, offset, scale: 1.0 / spread })
}
