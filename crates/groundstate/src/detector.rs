//! A detector: everything that inspection needs, in one value.
//!
//! It is what training ends in and what the model file holds.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::calibrate::{Basis, Calibration};
use crate::conditions::{CONDITION_NAMES, Conditions};
use crate::drift::{DriftError, Watch};
use crate::image::{Image, Map, Nuisance, Pose, Preprocessing, Roi};
use crate::model::{Batch, Energy, EnergyModel, Wanted};
use crate::regions::Segmentation;
use crate::score::{MapKind, Maps, Normaliser, Reading, Scores, needs_gradient, read_tiles, step_px};

/// A trained, normalised and calibrated energy-based model.
#[derive(Clone, Debug)]
pub struct Detector {
    /// What part of a picture counts; absent for all of it.
    pub roi: Option<Roi>,
    /// How a picture becomes what the energy takes.
    pub preprocessing: Preprocessing,
    /// The pose and the light that pictures are brought to.
    pub nuisance: Nuisance,
    /// The energy.
    pub energy: EnergyModel,
    /// What normal maps look like.
    pub normaliser: Normaliser,
    /// Name of the image score that verdicts use; one of [`crate::score::SCORE_NAMES`].
    pub default_score: String,
    /// The map that localizes.
    pub default_map: MapKind,
    /// How the normal pictures were taken that a drift is measured from: those of the calibration if it
    /// came after the training, else those of the training. May be empty.
    pub conditions: Vec<Conditions>,
    /// Scores and map peaks of normal pictures, and the rates that both thresholds keep.
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
    /// Normal pictures that statistics come from, and the calibration unless some were set apart for it.
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

/// How much of a picture's energy is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The default score and map, and whatever is made of the same: without the gradient at the pixels
    /// unless one of both takes it, which is more than half of the work.
    Default,
    /// Every score and map.
    Everything,
}

/// What a detector says of one picture.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Image scores by name; all of them with [`Detail::Everything`], at least the default one.
    pub scores: Scores,
    /// The default score.
    pub score: f64,
    /// Conformal p-value of the default score, in (0, 1]; small is anomalous.
    pub p_value: f64,
    /// The verdict: whether the picture is flagged as anomalous.
    pub flagged: bool,
    /// Where the part lies; maps are those of the picture brought to the template's pose.
    pub pose: Pose,
    /// The maps on their own grids, those of [`Detail`]; [`Detector::map`] brings one to the picture's resolution.
    pub maps: Maps,
}

impl Detector {
    /// Inspects one picture of any size; every score and map is computed.
    pub fn inspect(&self, picture: &Image) -> Inspection {
        self.inspect_prepared(&[self.prepare(picture)], Detail::Everything).remove(0)
    }

    /// What the energy sees of a picture of any size.
    pub fn prepare(&self, picture: &Image) -> Image {
        prepare(picture, self.roi.as_ref(), &self.preprocessing)
    }

    /// Inspects pictures that went through [`Detector::prepare`].
    pub fn inspect_prepared(&self, pictures: &[Image], detail: Detail) -> Vec<Inspection> {
        if pictures.is_empty() {
            return Vec::new();
        }
        if self.preprocessing.is_tiled() {
            let (preprocessing, light) = (&self.preprocessing, &self.nuisance.light);
            let wanted = self.wanted(detail);
            let read = |picture| read_tiles(&self.energy, preprocessing, light, picture, wanted);
            return pictures.iter().map(|picture| self.judge(&read(picture), Pose::IDENTITY)).collect();
        }
        let (poses, aligned): (Vec<Pose>, Vec<Image>) =
            pictures.par_iter().map(|p| self.nuisance.remove(p.clone())).unzip();
        let readings = self.read(&Batch::of(&aligned), detail);
        readings.par_iter().zip(poses).map(|(reading, pose)| self.judge(reading, pose)).collect()
    }

    fn wanted(&self, detail: Detail) -> Wanted {
        if detail == Detail::Everything {
            return Wanted::ALL;
        }
        let Wanted { free, gradient } = self.default_map.wants();
        Wanted { free, gradient: gradient || needs_gradient(&self.default_score) }
    }

    fn read(&self, batch: &Batch, detail: Detail) -> Vec<Reading> {
        let (width, height) = (batch.width, batch.height);
        let evaluated = self.energy.evaluate(batch, self.wanted(detail)).into_par_iter();
        evaluated.map(|evaluated| Reading::new(evaluated, width, height)).collect()
    }

    fn judge(&self, reading: &Reading, pose: Pose) -> Inspection {
        let maps = self.normaliser.maps(reading, &pose);
        let scores = maps.scores(reading);
        let score = scores[&self.default_score];
        Inspection {
            score,
            p_value: self.calibration.image.p_value(score),
            flagged: self.calibration.image.flags(score),
            scores,
            pose,
            maps,
        }
    }

    /// One map of an inspection at the resolution of the inspected picture; outside the region of
    /// interest it has its lowest value.
    ///
    /// # Panics
    /// If the kind takes what an inspection of [`Detail::Default`] left out ([`MapKind::wants`]).
    pub fn map(&self, inspection: &Inspection, kind: MapKind, width: usize, height: usize) -> Map {
        let size = self.preprocessing.size;
        let mut map = if self.preprocessing.is_tiled() {
            let step = step_px(kind, &self.energy);
            Preprocessing::restore_grid(&inspection.maps.on_grid(kind), step, width, height)
        } else {
            let map = inspection.pose.restore_map(&inspection.maps.at_resolution(kind, size, size));
            self.preprocessing.restore(&map, width, height)
        };
        let lowest = map.values.iter().copied().fold(f32::INFINITY, f32::min);
        self.fill_outside(&mut map, lowest);
        map
    }

    fn fill_outside(&self, map: &mut Map, value: f32) {
        let Some(roi) = &self.roi else { return };
        let inside = roi.of_size(map.width, map.height);
        map.values.iter_mut().zip(inside).filter(|(_, inside)| !inside).for_each(|(v, _)| *v = value);
    }

    /// What of the inspected picture of `width` × `height` pixels is not normal: the default map above
    /// its threshold, without regions of fewer than `min_area_px` pixels.
    pub fn segment(
        &self,
        inspection: &Inspection,
        width: usize,
        height: usize,
        min_area_px: usize,
    ) -> Segmentation {
        let threshold = self.calibration.map.threshold();
        // Normal pictures, which are most, are spared the map at their own resolution.
        if self.peak(inspection) <= threshold {
            return Segmentation::empty(width, height);
        }
        let mut map = self.map(inspection, self.default_map, width, height);
        self.fill_outside(&mut map, f32::NEG_INFINITY);
        Segmentation::new(&map, threshold, min_area_px)
    }

    /// The highest value of the default map at the resolution that the energy sees: what the threshold
    /// of regions is calibrated on.
    pub fn peak(&self, inspection: &Inspection) -> f64 {
        inspection.maps.peak(self.default_map, &self.preprocessing)
    }

    /// Begins to watch pictures for drift: their default score and the [`Conditions`] under which they
    /// were taken, against those of the normal pictures.
    ///
    /// Cross-fitted scores are not exchangeable with those of new pictures, so with them the score is
    /// only compared among the pictures watched.
    ///
    /// # Errors
    /// When the rate is not in (0, 1).
    pub fn watch(&self, false_alarm_rate: f64, seed: u64) -> Result<Watch, DriftError> {
        let scores = match self.calibration.basis {
            Basis::HeldOut => self.calibration.image.scores().to_vec(),
            Basis::CrossFitted => Vec::new(),
        };
        let of_condition = |k: usize| self.conditions.iter().map(|c| f64::from(c.values()[k])).collect();
        let conditions = CONDITION_NAMES.iter().enumerate().map(|(k, name)| (*name, of_condition(k)));
        let references = std::iter::once(("score", scores)).chain(conditions);
        Watch::new(references.map(|(name, values)| (name.to_owned(), values)), false_alarm_rate, seed)
    }
}

/// The numbers of a picture in the order of [`Detector::watch`].
pub fn watched(inspection: &Inspection, conditions: &Conditions) -> [f64; 1 + CONDITION_NAMES.len()] {
    let [brightness, contrast, sharpness] = conditions.values().map(f64::from);
    [inspection.score, brightness, contrast, sharpness]
}

/// A picture of any size as the energy takes it: with the white level of the model, and everything
/// outside the region of interest covered.
pub fn prepare(picture: &Image, roi: Option<&Roi>, preprocessing: &Preprocessing) -> Image {
    let picture = preprocessing.expose(picture);
    match roi {
        Some(roi) => preprocessing.apply(&roi.cover(&picture)),
        None => preprocessing.apply(&picture),
    }
}
