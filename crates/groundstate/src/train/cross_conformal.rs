//! Cross-conformal calibration: a training without each fold, which says what it makes of that fold.
//!
//! Each of these trainings is complete (pose, light, projection, energy and statistics), so nothing of a fold
//! is in what scores it, and a new picture is to that training what the pictures of the fold are. What was decided
//! before the pictures came here is taken as given: their size and channels, the white level, the region of interest.

use std::time::Instant;

use super::folds::{members, others};
use super::{Control, Observer, Progress, TrainConfig, TrainError, scores_and_peaks, train_with_checkpoints};
use crate::calibrate::Calibration;
use crate::detector::{Detector, Fold};
use crate::image::Image;

/// Folds. More would train each energy on more of the pictures, and bound less: the excess over 2 α is about
/// 2 (folds − 1) / pictures.
pub(super) const FOLDS: usize = 3;
/// With fewer pictures a training without a fold has fewer than the three that a closed form takes.
const LEAST_PICTURES: usize = 5;

/// Trains without each fold of the pictures, and calibrates by the scores that these trainings give it.
pub(super) fn calibrate(
    config: &TrainConfig,
    pictures: &[Image],
    start: Instant,
    observer: &mut Observer,
) -> Result<(Vec<Fold>, Calibration), TrainError> {
    if pictures.len() < LEAST_PICTURES {
        return Err(TrainError::TooFewPictures { found: pictures.len(), expected: LEAST_PICTURES });
    }
    let config = TrainConfig { cross_conformal: false, ..config.clone() };
    let (mut folds, mut found) = (Vec::new(), Vec::new());
    for fold in 0..FOLDS {
        let others = others(pictures, fold, FOLDS).cloned().collect();
        let mut part = part(fold, observer);
        let without = train_with_checkpoints(&config, others, start, None, &mut part)?.detector;
        let members: Vec<Image> = members(pictures, fold, FOLDS).cloned().collect();
        found.push(scores_and_peaks(&without, &members).into_iter().unzip());
        let Detector { nuisance, energy, normaliser, default_score, default_map, .. } = without;
        folds.push(Fold { nuisance, energy, normaliser, default_score, default_map });
    }
    Ok((folds, Calibration::cross_conformal(found)?))
}

/// An observer of one of the trainings, the last being that of all pictures.
pub(super) fn part<'a>(number: usize, observer: &'a mut Observer) -> impl FnMut(&Progress) -> Control + 'a {
    move |progress| {
        let done = progress.done.map(|done| (number as f64 + done) / (FOLDS + 1) as f64);
        observer(&Progress { done, ..progress.clone() })
    }
}
