//! One inspected test image beside its ground truth.

use std::collections::{BTreeMap, BTreeSet};

use super::error::EvaluateError;
use crate::image::{Map, Mask};

/// One test image: what is true of it and what the detector said.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Path relative to the data set; no two images share one.
    pub name: String,
    /// "good" or the type of defect.
    pub defect: String,
    /// The ground truth.
    pub anomalous: bool,
    /// Score name → value, higher is more anomalous; every image has the same names.
    pub scores: BTreeMap<String, f64>,
    /// Share of normal images expected to score at least as high, in `(0, 1]`, where calibrated.
    pub p_value: Option<f64>,
    /// The verdict: whether the image was flagged as anomalous.
    pub flagged: bool,
    /// The map that a user gets, at the resolution of the image.
    pub map: Map,
    /// Further maps by name, of the same size; every image has the same names.
    pub other_maps: BTreeMap<String, Map>,
    /// Ground truth at the resolution of the image. An anomalous image without one is left out of the
    /// pixel metrics and counted; a normal image needs none.
    pub mask: Option<Mask>,
}

impl Judged {
    /// The default map and the others, with their names.
    pub(super) fn maps(&self) -> impl Iterator<Item = (&str, &Map)> {
        std::iter::once(("default", &self.map)).chain(self.other_maps.iter().map(|(n, m)| (n.as_str(), m)))
    }
}

/// Refuses test images that cannot be evaluated together.
pub(super) fn check(judged: &[Judged], default_score: &str) -> Result<(), EvaluateError> {
    let first = judged.first().ok_or(EvaluateError::NoImages)?;
    if !first.scores.contains_key(default_score) {
        let known = names(&first.scores);
        return Err(EvaluateError::DefaultScore { score: default_score.to_owned(), known });
    }
    let mut seen = BTreeSet::new();
    for image in judged {
        let name = || image.name.clone();
        if !seen.insert(image.name.as_str()) {
            return Err(EvaluateError::DuplicateName { name: name() });
        }
        if !image.scores.keys().eq(first.scores.keys()) {
            let (found, expected) = (names(&image.scores), names(&first.scores));
            return Err(EvaluateError::ScoreNames { name: name(), found, expected });
        }
        if !image.other_maps.keys().eq(first.other_maps.keys()) {
            let (found, expected) = (names(&image.other_maps), names(&first.other_maps));
            return Err(EvaluateError::MapNames { name: name(), found, expected });
        }
        if let Some((score, &value)) = image.scores.iter().find(|(_, value)| !value.is_finite()) {
            return Err(EvaluateError::Score { name: name(), score: score.clone(), value });
        }
        check_maps(image)?;
        check_mask(image)?;
    }
    Ok(())
}

fn check_maps(image: &Judged) -> Result<(), EvaluateError> {
    let (width, height) = (image.map.width, image.map.height);
    for (kind, map) in image.maps() {
        let name = || image.name.clone();
        let map_name = || kind.to_owned();
        if (map.width, map.height) != (width, height) || map.values.len() != width * height {
            return Err(EvaluateError::MapSize {
                name: name(),
                map: map_name(),
                found: (map.width, map.height, map.values.len()),
                expected: (width, height),
            });
        }
        if let Some(at) = map.values.iter().position(|value| !value.is_finite()) {
            return Err(EvaluateError::Pixel {
                name: name(),
                map: map_name(),
                row: at / width,
                column: at % width,
                value: map.values[at],
            });
        }
    }
    Ok(())
}

fn check_mask(image: &Judged) -> Result<(), EvaluateError> {
    let Some(mask) = &image.mask else { return Ok(()) };
    let (width, height) = (image.map.width, image.map.height);
    if (mask.width, mask.height) != (width, height) || mask.defective.len() != width * height {
        return Err(EvaluateError::MaskSize {
            name: image.name.clone(),
            found: (mask.width, mask.height, mask.defective.len()),
            expected: (width, height),
        });
    }
    if !image.anomalous && mask.defective.contains(&true) {
        return Err(EvaluateError::DefectInNormal { name: image.name.clone() });
    }
    Ok(())
}

fn names<T>(entries: &BTreeMap<String, T>) -> String {
    entries.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}
