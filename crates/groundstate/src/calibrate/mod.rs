//! From scores of normal pictures that were not trained on to p-values, thresholds and promises.
//!
//! A detector has two thresholds, each with a rate that the user states: one for the image score (the
//! verdict) and one for the map (the regions). Both are conformal; [`Basis`] says what that
//! guarantees, `docs/guarantees.md` shows it on real pictures.

mod conformal;

use serde::{Deserialize, Serialize};

pub use conformal::{Conformal, check_rate, scores_needed};

/// Share of normal pictures that verdicts may reject unless the user states another.
pub const DEFAULT_FALSE_REJECT_RATE: f64 = 0.01;
/// Share of normal pictures that may show a region unless the user states another. It is higher than
/// that of verdicts because a lower threshold covers more of a defect.
pub const DEFAULT_PIXEL_FALSE_ALARM_RATE: f64 = 0.05;

/// What scores of normal pictures were taken with, and therefore what thresholds guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Pictures that neither the energy nor its statistics have seen, scored by the detector itself
    /// (split conformal prediction): a new normal picture is flagged with a probability of at most
    /// the rate if it is exchangeable with them, whatever the energy.
    HeldOut,
    /// Each picture was scored with an energy or statistics made without it, while new pictures are
    /// scored by the detector, which is made of all.
    ///
    /// No bound holds for every kind of data: that takes scoring a new picture with each of the
    /// energies, as [`Basis::CrossConformal`] does. In practice the detector
    /// has seen more normal pictures than those behind the scores, so new ones score lower and are
    /// flagged less often than stated.
    CrossFitted,
    /// The pictures of each fold were scored by a detector made without it, and a new picture is scored by
    /// each of these detectors (cross-conformal prediction): a new normal picture that is exchangeable with
    /// them is flagged with a probability of at most [`Conformal::bound`], twice the rate and a term that falls
    /// with the number of pictures, whatever the energies; in practice with about the rate or less.
    CrossConformal,
}

/// Both calibrations of a detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Of the default image score; its rate is the false-reject rate.
    pub image: Conformal,
    /// Of the highest value of the default map in a picture; its rate is the share of normal pictures
    /// that may show a region.
    pub map: Conformal,
    /// What the scores were taken with.
    pub basis: Basis,
    /// The calibrations before this one, oldest first.
    pub past: Vec<PastCalibration>,
}

/// What a calibration came to, kept when another takes its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PastCalibration {
    /// What the scores were taken with.
    pub basis: Basis,
    /// Normal pictures.
    pub count: usize,
    /// Stated false-reject rate.
    pub false_reject_rate: f64,
    /// Image scores above it were flagged; absent if all were.
    pub threshold: Option<f64>,
    /// Stated share of normal pictures that may show a region.
    pub pixel_false_alarm_rate: f64,
    /// Map values above it were regions; absent if all were.
    pub pixel_threshold: Option<f64>,
}

/// Why scores cannot calibrate.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum CalibrateError {
    /// There is nothing to calibrate on.
    #[error("found no calibration scores, expected the scores of held-out normal pictures")]
    Empty,
    /// The energy is broken.
    #[error("calibration score {index} is {value}, expected a finite number")]
    NotFinite {
        /// Its index.
        index: usize,
        /// The score.
        value: f64,
    },
    /// The rate is no probability.
    #[error("the rate is {0}, expected a number between 0 and 1, such as 0.01")]
    Rate(f64),
    /// Only a cross-conformal calibration has folds.
    #[error("found {folds} folds, expected several for a cross-conformal calibration and else one")]
    Folds {
        /// Folds found.
        folds: usize,
    },
    /// Image scores and map peaks are not of the same pictures.
    #[error("found {images} image scores and {maps} map peaks, expected one of each for every picture")]
    Counts {
        /// Image scores.
        images: usize,
        /// Map peaks.
        maps: usize,
    },
}

impl Calibration {
    /// Calibrates with the default rates; `scores` are image scores of normal pictures and `peaks`
    /// the highest values of their default maps.
    ///
    /// # Errors
    /// When there is no picture, a number is not finite, or there are more of one than of the other.
    pub fn new(scores: Vec<f64>, peaks: Vec<f64>, basis: Basis) -> Result<Self, CalibrateError> {
        Self {
            image: Conformal::new(scores, DEFAULT_FALSE_REJECT_RATE)?,
            map: Conformal::new(peaks, DEFAULT_PIXEL_FALSE_ALARM_RATE)?,
            basis,
            past: Vec::new(),
        }
        .check()
    }

    /// Calibrates cross-conformally with the default rates: `folds` are the image scores and the peaks of the
    /// pictures of each fold, by the detector made without them.
    ///
    /// # Errors
    /// As [`Calibration::new`]; also when there are fewer than two folds.
    pub fn cross_conformal(folds: Vec<(Vec<f64>, Vec<f64>)>) -> Result<Self, CalibrateError> {
        let (scores, peaks) = folds.into_iter().unzip();
        Self {
            image: Conformal::of_folds(scores, DEFAULT_FALSE_REJECT_RATE)?,
            map: Conformal::of_folds(peaks, DEFAULT_PIXEL_FALSE_ALARM_RATE)?,
            basis: Basis::CrossConformal,
            past: Vec::new(),
        }
        .check()
    }

    /// Upper bound on the probability that an exchangeable normal picture is flagged by one of the two
    /// calibrations of this one; `None` where nothing is proven.
    pub fn bound(&self, of: &Conformal) -> Option<f64> {
        (self.basis != Basis::CrossFitted).then(|| of.bound())
    }

    /// The same scores with other rates, where there are any.
    ///
    /// # Errors
    /// When a rate is not in (0, 1).
    pub fn with_rates(
        self,
        false_reject: Option<f64>,
        pixel_false_alarm: Option<f64>,
    ) -> Result<Self, CalibrateError> {
        let (of_image, of_map) = (self.image.rate(), self.map.rate());
        let image = self.image.with_rate(false_reject.unwrap_or(of_image))?;
        let map = self.map.with_rate(pixel_false_alarm.unwrap_or(of_map))?;
        Ok(Self { image, map, ..self })
    }

    /// Puts another calibration in the place of this one, which becomes its past; stated rates stay.
    ///
    /// # Errors
    /// As [`Calibration::new`].
    pub fn replaced(
        mut self,
        scores: Vec<f64>,
        peaks: Vec<f64>,
        basis: Basis,
    ) -> Result<Self, CalibrateError> {
        let finite = |threshold: f64| Some(threshold).filter(|t| t.is_finite());
        self.past.push(PastCalibration {
            basis: self.basis,
            count: self.image.count(),
            false_reject_rate: self.image.rate(),
            threshold: finite(self.image.threshold()),
            pixel_false_alarm_rate: self.map.rate(),
            pixel_threshold: finite(self.map.threshold()),
        });
        Self {
            image: Conformal::new(scores, self.image.rate())?,
            map: Conformal::new(peaks, self.map.rate())?,
            basis,
            past: self.past,
        }
        .check()
    }

    /// Restores the invariants after loading.
    ///
    /// # Errors
    /// As [`Calibration::new`] and [`Calibration::with_rates`].
    pub fn check(self) -> Result<Self, CalibrateError> {
        let (image, map) = (self.image.check()?, self.map.check()?);
        if image.fold_counts() != map.fold_counts() {
            return Err(CalibrateError::Counts { images: image.count(), maps: map.count() });
        }
        let folds = image.folds();
        if (folds > 1) != (self.basis == Basis::CrossConformal) {
            return Err(CalibrateError::Folds { folds });
        }
        Ok(Self { image, map, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_calibration_becomes_the_past_and_leaves_its_rates() {
        let first = Calibration::new(vec![1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0], Basis::CrossFitted).unwrap();
        let first = first.with_rates(Some(0.25), Some(0.5)).unwrap();
        let second = first.clone().replaced(vec![7.0], vec![8.0], Basis::HeldOut).unwrap();
        assert_eq!((second.image.rate(), second.map.rate()), (0.25, 0.5));
        assert_eq!((second.image.count(), second.basis), (1, Basis::HeldOut));
        let past = PastCalibration {
            basis: Basis::CrossFitted,
            count: 3,
            false_reject_rate: 0.25,
            threshold: Some(3.0),
            pixel_false_alarm_rate: 0.5,
            pixel_threshold: Some(5.0),
        };
        assert_eq!(second.past, [past]);
        assert_eq!(first.past, []);
    }

    #[test]
    fn only_a_cross_conformal_calibration_has_folds_and_a_new_one_leaves_them() {
        let fold = |at: f64| (vec![at, at + 1.0], vec![at, at + 2.0]);
        let calibration = Calibration::cross_conformal(vec![fold(0.0), fold(5.0)]).unwrap();
        assert_eq!((calibration.image.folds(), calibration.image.count()), (2, 4));
        assert_eq!(calibration.bound(&calibration.image), Some(2.0 * 2.0 / 6.0));
        let one = Calibration::cross_conformal(vec![fold(0.0)]).unwrap_err();
        assert_eq!(one, CalibrateError::Folds { folds: 1 });
        let mislabelled = Calibration { basis: Basis::CrossFitted, ..calibration.clone() };
        assert_eq!(mislabelled.check().unwrap_err(), CalibrateError::Folds { folds: 2 });
        let uneven =
            Calibration::cross_conformal(vec![(vec![1.0], vec![1.0, 2.0]), (vec![1.0, 2.0], vec![1.0])]);
        assert_eq!(uneven.unwrap_err(), CalibrateError::Counts { images: 3, maps: 3 });
        let after = calibration.replaced(vec![1.0; 20], vec![1.0; 20], Basis::HeldOut).unwrap();
        assert_eq!((after.image.folds(), after.past[0].basis), (1, Basis::CrossConformal));
        assert_eq!(after.bound(&after.map), Some(0.05));
    }

    #[test]
    fn scores_and_peaks_must_be_of_the_same_pictures() {
        let error = Calibration::new(vec![1.0, 2.0], vec![1.0], Basis::HeldOut).unwrap_err();
        assert_eq!(error, CalibrateError::Counts { images: 2, maps: 1 });
    }
}
