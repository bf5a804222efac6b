//! Method `gaussian`: the reference energy in closed form.
//!
//! Nothing is held back from the fit. What the energy says of unseen normal pictures is found by
//! cross-fitting: each fold of the pictures is evaluated with an energy fitted to the others.

use super::folds::members;
use super::learned::Readout;
use super::{Lesson, Method, Observer, Progress, Stage, TrainError, Trained, progress::Control, read};
use crate::image::Image;
use crate::model::{EnergyModel, FeatureBank, GaussianConfig, Reference};
use crate::score::{MapKind, Stabiliser};

/// Folds of the cross-fit.
const FOLDS: usize = 3;

/// Share of the variance of features that position does not explain, from which on pictures show a surface.
const SURFACE_SHARE: f64 = 0.75;

/// Fits a Gaussian of fixed features at every position.
pub(super) struct ClosedForm {
    pub(super) config: GaussianConfig,
}

/// Whether pictures show a surface, any place of which may look like any other.
pub(super) fn shows_surface(bank: &FeatureBank) -> bool {
    bank.unexplained_share() >= SURFACE_SHARE
}

/// How a closed form, alone or in a product, is read unless told otherwise.
pub(super) fn readout(registered: bool, surface: bool) -> Readout {
    Readout {
        score: match () {
            // A registered position is no longer one place of the scene: dust and shadows of the background move
            // through it, and its own spread says little about the next picture.
            () if registered => "energy_top",
            // One on a surface never was, but borders and light are where they are.
            () if surface => "energy_moderated_top",
            () => "energy_z_top",
        },
        // Registered parts are not displaced any more.
        map: if registered { MapKind::Energy } else { MapKind::FreeEnergy },
    }
}

impl Method for ClosedForm {
    fn train(&self, lesson: &Lesson, observer: &mut Observer) -> Result<Trained, TrainError> {
        let pictures = lesson.pictures;
        let folds = FOLDS.min(pictures.len());
        if pictures.len() < 3 {
            return Err(TrainError::TooFewPictures { found: pictures.len(), expected: 3 });
        }
        let mut report = |done: f64| {
            let progress = Progress { done: Some(done), ..Progress::stage(Stage::Fit, lesson.start) };
            if observer(&progress) == Control::Stop { Err(TrainError::Stopped) } else { Ok(()) }
        };
        report(0.0)?;
        let all: Vec<&Image> = pictures.iter().collect();
        let bank = FeatureBank::new(&all, folds, &self.config)?;
        let surface = shows_surface(&bank);
        let mut held_out = vec![None; pictures.len()];
        for fold in 0..folds {
            report((1 + fold) as f64 / (folds + 2) as f64)?;
            let energy = bank.fit(Some(fold))?;
            let members: Vec<&Image> = members(pictures, fold, folds).collect();
            for (n, reading) in read(&energy, &members).into_iter().enumerate() {
                held_out[fold + n * folds] = Some(reading);
            }
        }
        report((1 + folds) as f64 / (folds + 2) as f64)?;
        let reading = readout(lesson.registered, surface);
        Ok(Trained {
            energy: EnergyModel::Reference(Reference::plain(bank.fit(None)?)),
            held_out: held_out.into_iter().flatten().enumerate().collect(),
            stabiliser: Stabiliser::SquareRoot,
            default_score: reading.score,
            default_map: reading.map,
            pictures: pictures.len(),
            steps: 0,
            planned_steps: None,
            curve: Vec::new(),
            notes: Vec::new(),
            samples: Vec::new(),
        })
    }
}
