//! A detector: everything that inspection needs, in one value.
//!
//! It is what training ends in and what the model file holds.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::calibrate::Calibration;
use crate::image::{Image, Map, Preprocessing};
use crate::model::{Batch, Energy, EnergyModel, Evaluated};
use crate::score::{MapKind, Maps, Normaliser, Scores};

/// A trained, normalised and calibrated energy-based model.
#[derive(Clone, Debug)]
pub struct Detector {
    /// How a picture becomes what the energy takes.
    pub preprocessing: Preprocessing,
    /// The energy.
    pub energy: EnergyModel,
    /// What normal maps look like.
    pub normaliser: Normaliser,
    /// Name of the image score that verdicts use; one of [`crate::score::SCORE_NAMES`].
    pub default_score: String,
    /// The map that localizes.
    pub default_map: MapKind,
    /// Held-out normal scores and the false-reject rate.
    pub calibration: Calibration,
    /// How the model came to be.
    pub record: TrainingRecord,
}

/// How a model came to be: enough to make it again and to judge it. Nothing in it comes from the
/// clock, so that the same training gives the same file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingRecord {
    /// Training method: `gaussian`, `contrast`, `dsm` or `cd`.
    pub method: String,
    /// The complete training configuration; where a time budget decided on the optimiser steps, with
    /// the steps that it was turned into.
    pub config: serde_json::Value,
    /// Normal pictures that the energy was trained on.
    pub pictures: usize,
    /// Normal pictures that statistics and calibration come from.
    pub held_out: usize,
    /// Optimiser steps taken; 0 for a closed form.
    pub steps: u64,
    /// The course of training.
    pub curve: Vec<CurvePoint>,
    /// What the user should know: divergence, an early stop, few pictures.
    pub notes: Vec<String>,
}

/// One point of the course of training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Optimiser steps so far.
    pub step: u64,
    /// Loss, averaged since the last point.
    pub loss: f64,
    /// Mean energy of negatives minus mean energy of normal pictures, where the method has
    /// negatives.
    pub energy_gap: Option<f64>,
}

/// What a detector says of one picture.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Every image score by name.
    pub scores: Scores,
    /// The default score.
    pub score: f64,
    /// Conformal p-value of the default score, in (0, 1]; small is anomalous.
    pub p_value: f64,
    /// The verdict: whether the picture is flagged as anomalous.
    pub flagged: bool,
    /// The maps on their own grids; [`Detector::map`] brings one to the picture's resolution.
    pub maps: Maps,
}

impl Detector {
    /// Inspects one picture of any size.
    pub fn inspect(&self, picture: &Image) -> Inspection {
        self.inspect_prepared(&[self.preprocessing.apply(picture)]).remove(0)
    }

    /// Inspects pictures that went through [`Preprocessing::apply`].
    pub fn inspect_prepared(&self, pictures: &[Image]) -> Vec<Inspection> {
        if pictures.is_empty() {
            return Vec::new();
        }
        self.energy.evaluate(&Batch::of(pictures)).par_iter().map(|e| self.judge(e)).collect()
    }

    fn judge(&self, evaluated: &Evaluated) -> Inspection {
        let size = self.preprocessing.size;
        let maps = self.normaliser.maps(evaluated, size, size);
        let scores = maps.scores(evaluated);
        let score = scores[&self.default_score];
        Inspection {
            score,
            p_value: self.calibration.p_value(score),
            flagged: self.calibration.flags(score),
            scores,
            maps,
        }
    }

    /// One map of an inspection at the resolution of the inspected picture.
    pub fn map(&self, inspection: &Inspection, kind: MapKind, width: usize, height: usize) -> Map {
        let size = self.preprocessing.size;
        self.preprocessing.restore(&inspection.maps.at_resolution(kind, size, size), width, height)
    }
}
