//! Training: from pictures of normal parts to a [`Detector`].
//!
//! Every method stands behind [`Method`]: it gets normal pictures and gives back an energy, with
//! what that energy says of pictures it was *not* trained on. [`train`] turns either into a
//! detector.

mod cd;
mod checkpoint;
mod config;
mod contrast;
mod corrupt;
mod course;
mod cross_conformal;
mod draw;
mod dsm;
mod error;
mod folds;
mod gaussian;
mod learn;
mod learned;
mod learner;
mod objective;
mod optimiser;
mod product;
mod progress;
mod spread;
mod student;
mod tiled;
mod watch;

pub use cd::CdConfig;
pub use checkpoint::{CheckpointError, Checkpoints};
pub use config::{MethodName, TrainConfig};
pub use contrast::ContrastConfig;
pub use dsm::DsmConfig;
pub use error::TrainError;
pub use optimiser::OptimiserConfig;
pub use progress::{Control, Observer, Progress, Stage};
pub use tiled::{Gallery, train_tiled};

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rayon::prelude::*;

use crate::calibrate::{Basis, Calibration};
use crate::detector::{CurvePoint, Detail, Detector, TrainingRecord};
use crate::image::{Image, Nuisance, Pose, Preprocessing};
use crate::model::{Batch, Energy, EnergyModel, Wanted};
use crate::score::{MapKind, Normaliser, Reading, Stabiliser};

/// Pictures that are evaluated at once when the held-out ones are read.
const EVALUATION_BATCH: usize = 16;

/// Parts in which held-out pictures are normalised by the statistics of the other parts.
const NORMALISER_FOLDS: usize = 8;

/// Pictures of a kind that are kept to be looked at.
const EXHIBITED: usize = 24;

/// Keeps the pictures set apart for calibration independent of those that a method holds out.
const SET_APART: u64 = 0xca11_b8a7e;

/// What a method learns from.
pub struct Lesson<'a> {
    /// Normal pictures, preprocessed, all of one shape.
    pub pictures: &'a [Image],
    /// Whether they were brought to one pose.
    pub registered: bool,
    /// Seed of everything random.
    pub seed: u64,
    /// When training began; budgets count from here.
    pub start: Instant,
    /// The number of steps that all networks of the lesson take, once one has measured what there is time for.
    agreed_steps: Arc<OnceLock<u64>>,
    /// Keeps it on disk, where that is wanted.
    keeper: Option<checkpoint::Keeper>,
}

/// What a method gives back.
pub struct Trained {
    /// The energy.
    pub energy: EnergyModel,
    /// What energies of the same kind say of normal pictures that they were not trained on, each with
    /// its index in the lesson.
    pub held_out: Vec<(usize, Reading)>,
    /// Scale of the energy map.
    pub stabiliser: Stabiliser,
    /// Name of the image score for verdicts.
    pub default_score: &'static str,
    /// The map that localizes.
    pub default_map: MapKind,
    /// Pictures that the energy was trained on.
    pub pictures: usize,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Optimiser steps that the training was to have, for methods that take steps.
    pub planned_steps: Option<u64>,
    /// The course of training.
    pub curve: Vec<CurvePoint>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Samples of the model, for methods that draw them.
    pub samples: Vec<Image>,
}

/// A training that is over.
pub struct Completed {
    /// What it was for.
    pub detector: Detector,
    /// What a researcher looks at.
    pub exhibit: Exhibit,
}

/// Pictures as the energy sees them, brought to one pose and one light.
pub struct Exhibit {
    /// Some of the normal pictures, trained on or held back.
    pub normal: Vec<Image>,
    /// Where some of the model's chains ended; none for methods without chains.
    pub chains: Vec<Image>,
}

/// A way to train an energy from normal pictures.
pub trait Method {
    /// Trains until done, out of budget, or told to stop; a stopped training still gives an energy
    /// that can be used, unless there is none yet.
    ///
    /// # Errors
    /// When the pictures are too few, a setting is out of range, or training was stopped before
    /// there was anything to keep.
    fn train(&self, lesson: &Lesson, observer: &mut Observer) -> Result<Trained, TrainError>;
}

/// Trains a detector from preprocessed normal pictures.
///
/// What happened before preprocessing is the caller's to set in the detector:
/// [`Detector::roi`] and [`Detector::conditions`].
///
/// `start` is when the user began to wait: reading the pictures counts.
///
/// # Errors
/// See [`Method::train`]; also when the trained energy gives values that are not finite.
pub fn train(
    config: &TrainConfig,
    pictures: Vec<Image>,
    start: Instant,
    observer: &mut Observer,
) -> Result<Detector, TrainError> {
    Ok(train_with_checkpoints(config, pictures, start, None, observer)?.detector)
}

/// Does what [`train`] does, and saves the training on the way, so that it can go on after it was
/// killed. The closed form takes seconds and starts anew.
///
/// The checkpoint stays: [`Checkpoints::remove`] is for the caller who has the model in a safe place.
///
/// # Errors
/// As [`train`]; also when a checkpoint cannot be written or gone on from.
pub fn train_with_checkpoints(
    config: &TrainConfig,
    pictures: Vec<Image>,
    start: Instant,
    checkpoints: Option<&Checkpoints>,
    observer: &mut Observer,
) -> Result<Completed, TrainError> {
    let config = config.clone().check()?;
    if pictures.len() < 2 {
        return Err(TrainError::TooFewPictures { found: pictures.len(), expected: 2 });
    }
    let (pictures, apart) = set_apart(pictures, config.calibration_share, config.seed)?;
    let tone = config.tone_of(&pictures);
    let config = TrainConfig { tone: Some(tone), ..config };
    if config.cross_conformal {
        let (folds, calibration) = cross_conformal::calibrate(&config, &pictures, start, observer)?;
        let of_all = TrainConfig { cross_conformal: false, ..config.clone() };
        let mut last = cross_conformal::part(cross_conformal::FOLDS, observer);
        let mut completed = train_with_checkpoints(&of_all, pictures, start, checkpoints, &mut last)?;
        completed.detector = Detector { folds, calibration, ..completed.detector };
        completed.detector.record.config["cross_conformal"] = true.into();
        return Ok(completed);
    }
    let keeper = checkpoints.map(|checkpoints| checkpoint::Keeper::new(checkpoints, &config, &pictures));
    let (nuisance, poses, pictures) = Nuisance::fit(pictures, config.register, tone);
    let registered = nuisance.registration.is_some();
    let lesson = Lesson {
        pictures: &pictures,
        registered,
        seed: config.seed,
        start,
        agreed_steps: Arc::default(),
        keeper,
    };
    let mut trained = config.method().train(&lesson, observer)?;
    observer(&Progress::stage(Stage::Calibrate, start));
    let chains = std::mem::take(&mut trained.samples);
    let mut detector = assemble(&config, trained, nuisance, &poses)?;
    let of_apart = scores_and_peaks(&detector, &apart);
    calibrate_on(&mut detector, of_apart)?;
    let every = pictures.len().div_ceil(EXHIBITED);
    let normal = pictures.into_iter().step_by(every).collect();
    Ok(Completed { detector, exhibit: Exhibit { normal, chains } })
}

/// Normalises and calibrates what was trained on pictures that lie in `poses`.
fn assemble(
    config: &TrainConfig,
    trained: Trained,
    nuisance: Nuisance,
    poses: &[Pose],
) -> Result<Detector, TrainError> {
    let preprocessing = config.preprocessing();
    let all: Vec<&Reading> = trained.held_out.iter().map(|(_, reading)| reading).collect();
    let normaliser = Normaliser::fit(&all, trained.stabiliser)?;
    let (scores, peaks) = calibration_scores(&trained, poses, &preprocessing)?.into_iter().unzip();
    let mut recorded = config.clone();
    recorded.optimiser.steps = trained.planned_steps.or(recorded.optimiser.steps);
    let record = TrainingRecord {
        method: config.method.to_string(),
        config: serde_json::to_value(&recorded).expect("a configuration is plain data"),
        pictures: trained.pictures,
        held_out: trained.held_out.len(),
        steps: trained.steps,
        curve: trained.curve,
        notes: trained.notes,
    };
    Ok(Detector {
        roi: None,
        preprocessing,
        nuisance,
        conditions: Vec::new(),
        energy: trained.energy,
        normaliser,
        default_score: trained.default_score.to_owned(),
        default_map: trained.default_map,
        calibration: Calibration::new(scores, peaks, Basis::CrossFitted)?,
        folds: Vec::new(),
        record,
    })
}

/// Calibrates on the scores and peaks of pictures that were set apart, if there are any.
fn calibrate_on(detector: &mut Detector, of_apart: Vec<(f64, f64)>) -> Result<(), TrainError> {
    if !of_apart.is_empty() {
        let (scores, peaks) = of_apart.into_iter().unzip();
        detector.calibration = Calibration::new(scores, peaks, Basis::HeldOut)?;
    }
    Ok(())
}

/// The default score of each picture and the peak of its default map.
fn scores_and_peaks(detector: &Detector, pictures: &[Image]) -> Vec<(f64, f64)> {
    let batches = pictures.chunks(EVALUATION_BATCH);
    let inspections = batches.flat_map(|batch| detector.inspect_prepared(batch, Detail::Default));
    inspections.map(|inspection| (inspection.score, detector.peak(&inspection))).collect()
}

/// Draws the pictures that training does not see, so that the calibration is that of held-out ones.
fn set_apart(pictures: Vec<Image>, share: f64, seed: u64) -> Result<(Vec<Image>, Vec<Image>), TrainError> {
    if share == 0.0 {
        return Ok((pictures, Vec::new()));
    }
    let (_, apart) = learn::split(pictures.len(), share, seed ^ SET_APART)?;
    let (apart, rest): (Vec<_>, Vec<_>) =
        pictures.into_iter().enumerate().partition(|(i, _)| apart.contains(i));
    let only = |numbered: Vec<(usize, Image)>| numbered.into_iter().map(|(_, picture)| picture).collect();
    Ok((only(rest), only(apart)))
}

/// Default score and peak of the default map of the held-out pictures, each normalised by the
/// statistics of others: a picture that helps to say what is normal looks more normal than a new one.
fn calibration_scores(
    trained: &Trained,
    poses: &[Pose],
    preprocessing: &Preprocessing,
) -> Result<Vec<(f64, f64)>, TrainError> {
    let held_out = &trained.held_out;
    let folds = NORMALISER_FOLDS.min(held_out.len());
    let fold_scores: Vec<Vec<(f64, f64)>> = (0..folds)
        .into_par_iter()
        .map(|fold| {
            let others: Vec<&Reading> =
                folds::others(held_out, fold, folds).map(|(_, reading)| reading).collect();
            let normaliser = Normaliser::fit(&others, trained.stabiliser)?;
            let members = folds::members(held_out, fold, folds);
            let score = |(picture, reading): &(usize, Reading)| {
                let maps = normaliser.maps(reading, &poses[*picture]);
                let score = maps.scores(reading)[trained.default_score];
                (score, maps.peak(trained.default_map, preprocessing))
            };
            Ok(members.map(score).collect())
        })
        .collect::<Result<_, TrainError>>()?;
    Ok(fold_scores.concat())
}

/// Reads pictures in small batches, to bound memory.
fn read(energy: &impl Energy, pictures: &[&Image]) -> Vec<Reading> {
    pictures
        .chunks(EVALUATION_BATCH)
        .flat_map(|chunk| {
            let batch = Batch::of(chunk.iter().copied());
            let (width, height) = (batch.width, batch.height);
            let evaluated = energy.evaluate(&batch, Wanted::ALL).into_par_iter();
            evaluated.map(|e| Reading::new(e, width, height)).collect::<Vec<Reading>>()
        })
        .collect()
}

/// Highest resident memory of this process so far, in MiB, where the system tells (Linux).
pub fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}
