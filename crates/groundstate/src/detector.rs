//! A detector: everything that inspection needs, in one value.
//!
//! It is what training ends in and what the model file holds.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::calibrate::{Basis, Calibration};
use crate::conditions::{CONDITION_NAMES, Conditions};
use crate::drift::{DriftError, Watch};
use crate::image::{Image, Map, Nuisance, Pose, Preprocessing, Roi, Tone};
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
    /// What a cross-conformal calibration compares with, fold by fold; empty with any other.
    pub folds: Vec<Fold>,
    /// How the model came to be.
    pub record: TrainingRecord,
}

/// What was trained on all normal pictures but those of a fold of the calibration, to which it compares new ones.
#[derive(Clone, Debug)]
pub struct Fold {
    /// The pose and the light that pictures are brought to.
    pub nuisance: Nuisance,
    /// The energy.
    pub energy: EnergyModel,
    /// What normal maps look like.
    pub normaliser: Normaliser,
    /// Name of the image score for verdicts.
    pub default_score: String,
    /// The map that localizes.
    pub default_map: MapKind,
}

/// What the detector of a fold says of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoldFinding {
    /// Its default score.
    pub score: f64,
    /// The highest value of its default map.
    pub peak: f64,
}

/// How a model came to be: enough to make it again and to judge it. Nothing in it comes from the
/// clock, so that the same training gives the same file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingRecord {
    /// Training method: `product`, `gaussian`, `contrast`, `dsm` or `cd`.
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
    /// What the detectors of the folds say, in the order of [`Detector::folds`].
    pub folds: Vec<FoldFinding>,
    /// Conformal p-value of the default score, or cross-conformal one of those of the folds, in (0, 1];
    /// small is anomalous.
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
            let seen =
                pictures.iter().map(|picture| Seen::of(&read(picture), Pose::IDENTITY, &self.normaliser));
            return seen.map(|seen| self.judge(seen, Vec::new())).collect();
        }
        let (scorer, tone) = ((&self.nuisance, &self.energy, &self.normaliser), self.preprocessing.tone);
        let seen = see(pictures, tone, scorer, self.wanted(detail));
        let mut of_folds = vec![Vec::with_capacity(self.folds.len()); pictures.len()];
        for fold in &self.folds {
            let findings = fold.inspect_prepared(pictures, &self.preprocessing);
            of_folds.iter_mut().zip(findings).for_each(|(all, finding)| all.push(finding));
        }
        seen.into_iter().zip(of_folds).map(|(seen, of_folds)| self.judge(seen, of_folds)).collect()
    }

    fn wanted(&self, detail: Detail) -> Wanted {
        match detail {
            Detail::Everything => Wanted::ALL,
            Detail::Default => wanted(&self.default_score, self.default_map),
        }
    }

    fn judge(&self, seen: Seen, folds: Vec<FoldFinding>) -> Inspection {
        let Seen { pose, maps, scores } = seen;
        let score = scores[&self.default_score];
        let image = &self.calibration.image;
        let of_folds: Vec<f64> = folds.iter().map(|finding| finding.score).collect();
        let p_value = match &of_folds[..] {
            [] => image.p_value(score),
            // What overflows has the least p-value, whatever the others say.
            some if !score.is_finite() || some.iter().any(|s| !s.is_finite()) => image.p_value(f64::NAN),
            all => image.p_value_of(all),
        };
        Inspection { flagged: image.flags_p_value(p_value), score, folds, p_value, scores, pose, maps }
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
    /// its threshold, without regions of fewer than `min_area_px` pixels. With folds, there is nothing unless the
    /// peaks of their maps together are as high as the calibration's seldom are.
    pub fn segment(
        &self,
        inspection: &Inspection,
        width: usize,
        height: usize,
        min_area_px: usize,
    ) -> Segmentation {
        let threshold = self.calibration.map.threshold();
        // Normal pictures, which are most, are spared the map at their own resolution.
        if self.peak(inspection) <= threshold || !self.may_show(&inspection.folds) {
            return Segmentation::empty(width, height);
        }
        let mut map = self.map(inspection, self.default_map, width, height);
        self.fill_outside(&mut map, f32::NEG_INFINITY);
        Segmentation::new(&map, threshold, min_area_px)
    }

    /// Whether the peaks of the folds' maps allow for a region.
    fn may_show(&self, folds: &[FoldFinding]) -> bool {
        let peaks: Vec<f64> = folds.iter().map(|finding| finding.peak).collect();
        let map = &self.calibration.map;
        peaks.is_empty() || map.flags_p_value(map.p_value_of(&peaks))
    }

    /// The highest value of the default map at the resolution that the energy sees: what the threshold
    /// of regions is calibrated on.
    pub fn peak(&self, inspection: &Inspection) -> f64 {
        inspection.maps.peak(self.default_map, &self.preprocessing)
    }

    /// Begins to watch pictures for drift: their default score and the [`Conditions`] under which they
    /// were taken, against those of the normal pictures.
    ///
    /// Cross-fitted and cross-conformal scores are not exchangeable with those of new pictures by the energy of
    /// all, so with them the score is only compared among the pictures watched.
    ///
    /// # Errors
    /// When the rate is not in (0, 1).
    pub fn watch(&self, false_alarm_rate: f64, seed: u64) -> Result<Watch, DriftError> {
        let scores = match self.calibration.basis {
            Basis::HeldOut => self.calibration.image.scores().collect(),
            Basis::CrossFitted | Basis::CrossConformal => Vec::new(),
        };
        let of_condition = |k: usize| self.conditions.iter().map(|c| f64::from(c.values()[k])).collect();
        let conditions = CONDITION_NAMES.iter().enumerate().map(|(k, name)| (*name, of_condition(k)));
        let references = std::iter::once(("score", scores)).chain(conditions);
        Watch::new(references.map(|(name, values)| (name.to_owned(), values)), false_alarm_rate, seed)
    }
}

impl Fold {
    /// What it says of pictures that went through [`Detector::prepare`], which scales them to one size.
    fn inspect_prepared(&self, pictures: &[Image], preprocessing: &Preprocessing) -> Vec<FoldFinding> {
        let wanted = wanted(&self.default_score, self.default_map);
        let scorer = (&self.nuisance, &self.energy, &self.normaliser);
        let seen = see(pictures, preprocessing.tone, scorer, wanted);
        let finding = |seen: &Seen| FoldFinding {
            score: seen.scores[&self.default_score],
            peak: seen.maps.peak(self.default_map, preprocessing),
        };
        seen.par_iter().map(finding).collect()
    }
}

/// The maps and scores of a picture, which lies in `pose`.
struct Seen {
    pose: Pose,
    maps: Maps,
    scores: Scores,
}

impl Seen {
    fn of(reading: &Reading, pose: Pose, normaliser: &Normaliser) -> Self {
        let maps = normaliser.maps(reading, &pose);
        Self { pose, scores: maps.scores(reading), maps }
    }
}

/// Pictures of one size without their pose and light, with a tone, through an energy.
fn see(
    pictures: &[Image],
    tone: Tone,
    (nuisance, energy, normaliser): (&Nuisance, &EnergyModel, &Normaliser),
    wanted: Wanted,
) -> Vec<Seen> {
    let (poses, aligned): (Vec<Pose>, Vec<Image>) =
        pictures.par_iter().map(|picture| nuisance.remove(picture.clone(), tone)).unzip();
    let batch = Batch::of(&aligned);
    let (width, height) = (batch.width, batch.height);
    let evaluated = energy.evaluate(&batch, wanted).into_par_iter();
    let seen =
        evaluated.zip(poses).map(|(e, pose)| Seen::of(&Reading::new(e, width, height), pose, normaliser));
    seen.collect()
}

/// What an energy is asked for to give a score and a map.
fn wanted(score: &str, map: MapKind) -> Wanted {
    let Wanted { free, gradient } = map.wants();
    Wanted { free, gradient: gradient || needs_gradient(score) }
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
